//! Buffers that a thread lends to the sessions it serves, so that a session which waits has none; what it keeps is a copy.
//!
//! Never lends a buffer that somebody else can still see. Invariant: what is lent is empty, and a thread keeps no more than
//! [`KEPT_MAX`] buffers of at most [`LEN_MAX`] bytes.

use std::cell::RefCell;

use bytes::{Bytes, BytesMut};

/// Least length of a buffer that is kept, and of a new one, in bytes.
const LEN_MIN: usize = 4 << 10;
/// Greatest length of a buffer that is kept, in bytes.
const LEN_MAX: usize = 256 << 10;
/// What is at most so long is copied to be kept by itself, in bytes.
const FEW: usize = 64 << 10;
/// Buffers that a thread keeps; a session has four at most.
const KEPT_MAX: usize = 8;

thread_local! {
    static KEPT: RefCell<Vec<BytesMut>> = const { RefCell::new(Vec::new()) };
}

/// Gives a buffer to whoever has none.
pub(super) fn lend(to: &mut BytesMut) {
    if to.capacity() == 0 {
        *to = KEPT.with_borrow_mut(Vec::pop).unwrap_or_else(|| BytesMut::with_capacity(LEN_MIN));
    }
}

/// Takes a buffer back that is not needed now; one that holds something stays.
pub(super) fn take_back(from: &mut BytesMut) {
    if !from.is_empty() {
        return;
    }
    // One that was filled to its end and read to its end says that it has no room, and has not given it back.
    let mut buffer = std::mem::take(from);
    // Where somebody still has a part of it, it is theirs.
    if buffer.try_reclaim(LEN_MIN) && buffer.capacity() <= LEN_MAX {
        KEPT.with_borrow_mut(|kept| {
            if kept.len() < KEPT_MAX {
                kept.push(buffer);
            }
        });
    }
}

/// Takes a buffer back of which nothing is needed any more.
pub(super) fn done_with(buffer: &mut BytesMut) {
    buffer.clear();
    take_back(buffer);
}

/// Keeps bytes by themselves, where they are few and may be a small part of what they came in.
pub(super) fn alone(bytes: &mut Bytes) {
    if bytes.len() <= FEW {
        *bytes = Bytes::copy_from_slice(bytes);
    }
}

/// The same of what is in a lent buffer, which is taken back.
pub(super) fn rest_alone(bytes: &mut BytesMut) {
    if bytes.len() <= FEW {
        let alone = BytesMut::from(bytes.as_ref());
        done_with(&mut std::mem::replace(bytes, alone));
    }
}

#[cfg(test)]
mod tests {
    use bytes::Buf as _;

    use super::*;

    fn kept() -> usize {
        KEPT.with_borrow(Vec::len)
    }

    #[test]
    fn a_buffer_goes_round_and_what_it_held_is_gone() {
        let (mut one, mut other) = (BytesMut::new(), BytesMut::new());
        lend(&mut one);
        one.extend_from_slice(b"what one session said");
        let place = one.as_ptr();
        take_back(&mut one);
        assert_eq!((one.len(), kept()), (21, 0), "what is not done stays");
        one.advance(21);
        take_back(&mut one);
        assert_eq!((one.capacity(), kept()), (0, 1));
        lend(&mut other);
        assert!(other.is_empty() && other.capacity() >= LEN_MIN);
        assert_eq!((other.as_ptr(), kept()), (place, 0));
    }

    #[test]
    fn a_buffer_that_somebody_has_a_part_of_is_not_lent() {
        let mut buffer = BytesMut::new();
        lend(&mut buffer);
        buffer.extend_from_slice(b"a statement");
        let part = buffer.split().freeze();
        take_back(&mut buffer);
        assert_eq!((buffer.capacity(), kept()), (0, 0));
        lend(&mut buffer);
        buffer.extend_from_slice(b"of somebody");
        assert_eq!(&part[..], b"a statement");
    }

    #[test]
    fn a_buffer_that_was_full_to_its_end_gives_its_memory_back() {
        let mut buffer = BytesMut::with_capacity(LEN_MIN);
        buffer.extend_from_slice(&vec![7; buffer.capacity()]);
        buffer.advance(buffer.len());
        assert_eq!(buffer.capacity(), 0, "what makes it look like none");
        take_back(&mut buffer);
        assert_eq!(kept(), 1);
    }

    #[test]
    fn few_are_kept_and_none_that_is_large() {
        take_back(&mut BytesMut::with_capacity(LEN_MAX + 1));
        take_back(&mut BytesMut::with_capacity(LEN_MIN - 1));
        take_back(&mut BytesMut::new());
        assert_eq!(kept(), 0);
        (0..2 * KEPT_MAX).for_each(|_| take_back(&mut BytesMut::with_capacity(LEN_MIN)));
        assert_eq!(kept(), KEPT_MAX);
    }

    #[test]
    fn what_waits_for_people_keeps_no_buffer() {
        let read = Bytes::from(vec![7; 4096]);
        let mut part = read.slice(10..20);
        alone(&mut part);
        assert_eq!(&part[..], &[7; 10]);
        assert!(read.is_unique(), "nothing but the buffer itself is left of it");
        let (large, mut all) = (Bytes::from(vec![7; 1 << 20]), Bytes::new());
        all.clone_from(&large);
        alone(&mut all);
        assert_eq!(all.as_ptr(), large.as_ptr(), "what is long is not copied");
        let mut collected = BytesMut::new();
        lend(&mut collected);
        collected.extend_from_slice(b"Parse, Bind");
        rest_alone(&mut collected);
        assert_eq!((&collected[..], kept()), (&b"Parse, Bind"[..], 1), "the buffer it was collected in is lent again");
        let mut long = BytesMut::from(&large[..]);
        let place = long.as_ptr();
        rest_alone(&mut long);
        assert_eq!((long.as_ptr(), long.len()), (place, 1 << 20));
    }
}
