//! JSON documents: what stands at some paths is masked, everything else stays byte by byte.
//!
//! Never shows a document that it could not read to its end: that is hidden whole. Invariant: every value at a path is
//! masked, however often its key is repeated, however it is written, and whatever arrays stand in between.
//!
//! | value at the path | becomes |
//! |---|---|
//! | string | as a text under the mask; `null` where that is NULL |
//! | number | `0`; `null` under `null` |
//! | `true`, `false` | `null` |
//! | `null` | `null` |
//! | object, array | `"***"`; `null` under `null` and `zero` |

mod path;
mod string;

use bytes::{BufMut, BytesMut};

use self::path::Step;
pub use self::path::{BadPath, JsonPath};
pub(super) use self::string::encode;
use super::maskers::{Masked, Masker};
use super::nested::Maskers;
use super::values::HIDDEN;
use super::{MaskKind, TEXT_TYPE};

/// Deepest nesting that is followed.
const DEPTH_MAX: usize = 256;

/// Which paths of a document are masked, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JsonMask {
    paths: Vec<(JsonPath, MaskKind)>,
}

impl JsonMask {
    /// These paths, each with its mask.
    #[must_use]
    pub fn new(paths: Vec<(JsonPath, MaskKind)>) -> Self {
        Self { paths }
    }

    /// The masks of its paths.
    pub(super) fn kinds(&self) -> impl Iterator<Item = &MaskKind> {
        self.paths.iter().map(|(_, kind)| kind)
    }
}

/// Rewrites the documents of one result column.
#[derive(Clone)]
pub(super) struct Documents {
    paths: Vec<(JsonPath, Masker)>,
    hidden: Masker,
}

impl Documents {
    pub(super) fn new(mask: &JsonMask, maskers: Maskers<'_>) -> Self {
        let masker = |kind: &MaskKind| Masker::scalar(kind.clone(), maskers, TEXT_TYPE);
        let paths = mask.paths.iter().map(|(path, kind)| (path.clone(), masker(kind)));
        Self { paths: paths.collect(), hidden: masker(&MaskKind::Redact) }
    }

    /// Appends the document with what stands at the paths masked; `None` when it cannot be read. What was appended by
    /// then is of no use.
    pub(super) fn rewrite(&self, text: &[u8], out: &mut BytesMut) -> Option<()> {
        let paths = 0..self.paths.len();
        let active = paths.map(|path| Place { path, step: 0 }).collect();
        let mut walk = Walk { documents: self, text, at: 0, kept: 0, active, out };
        walk.value(0, 0)?;
        walk.blank();
        if walk.at != text.len() {
            return None;
        }
        walk.keep(walk.at)
    }
}

/// How far a path has been followed.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Place {
    path: usize,
    step: usize,
}

/// A document that is being read.
struct Walk<'a> {
    documents: &'a Documents,
    text: &'a [u8],
    at: usize,
    /// Everything before was appended.
    kept: usize,
    /// The places of the values that are open, the innermost last.
    active: Vec<Place>,
    out: &'a mut BytesMut,
}

impl<'a> Walk<'a> {
    /// Reads a value, whose places are those from `from` on.
    fn value(&mut self, from: usize, depth: usize) -> Option<()> {
        self.blank();
        let first = *self.text.get(self.at)?;
        if depth > DEPTH_MAX {
            return None;
        }
        self.stay(from, first == b'[');
        match self.found(from) {
            None => self.inside(first, from, depth),
            Some(masker) => {
                let start = self.at;
                self.inside(first, self.active.len(), depth)?;
                self.keep(start)?;
                self.put_masked(self.text.get(start..self.at)?, first, masker)?;
                self.kept = self.at;
                Some(())
            }
        }
    }

    /// Adds the places that are reached without going into the value.
    fn stay(&mut self, from: usize, is_array: bool) {
        let mut next = from;
        while let Some(place) = self.active.get(next).copied() {
            let stays = match self.step(place) {
                Some(Step::Deep) => true,
                Some(Step::Elements) => !is_array,
                Some(Step::Key(_) | Step::AnyKey) | None => false,
            };
            let reached = Place { step: place.step.saturating_add(1), ..place };
            if stays && !self.active.get(from..).unwrap_or_default().contains(&reached) {
                self.active.push(reached);
            }
            next = next.saturating_add(1);
        }
    }

    fn step(&self, place: Place) -> Option<&Step> {
        self.documents.paths.get(place.path)?.0.step(place.step)
    }

    /// What masks the value, when a path ends here; of several the one that shows least.
    fn found(&self, from: usize) -> Option<&'a Masker> {
        let documents = self.documents;
        let ends = self.active.get(from..)?.iter().filter(|place| self.step(**place).is_none());
        let found = ends.filter_map(|place| Some(&documents.paths.get(place.path)?.1));
        found.reduce(|one, other| match one.kind().clone().stricter(other.kind().clone()) {
            kind if kind == *one.kind() => one,
            kind if kind == *other.kind() => other,
            _ => &documents.hidden,
        })
    }

    fn inside(&mut self, first: u8, from: usize, depth: usize) -> Option<()> {
        match first {
            b'{' => self.object(from, depth),
            b'[' => self.array(from, depth),
            b'"' => self.string().map(drop),
            b'-' | b'0'..=b'9' => {
                self.skip(|byte| matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E'));
                Some(())
            }
            _ => self.word(),
        }
    }

    fn object(&mut self, from: usize, depth: usize) -> Option<()> {
        let until = self.active.len();
        self.take(b'{')?;
        self.blank();
        if self.take(b'}').is_some() {
            return Some(());
        }
        loop {
            self.blank();
            let key = self.string()?;
            let key = string::decode(self.text.get(key)?)?;
            self.descend(from..until, |step| match step {
                Step::Key(name) => (**name == *key).then_some(1),
                Step::AnyKey => Some(1),
                Step::Deep => Some(0),
                Step::Elements => None,
            });
            self.blank();
            self.take(b':')?;
            self.value(until, depth.checked_add(1)?)?;
            self.active.truncate(until);
            self.blank();
            if self.take(b',').is_none() {
                return self.take(b'}');
            }
        }
    }

    fn array(&mut self, from: usize, depth: usize) -> Option<()> {
        let until = self.active.len();
        self.take(b'[')?;
        self.blank();
        if self.take(b']').is_some() {
            return Some(());
        }
        loop {
            self.descend(from..until, |step| match step {
                Step::Elements => Some(1),
                // In lax mode a member is looked for in the elements.
                Step::Key(_) | Step::AnyKey | Step::Deep => Some(0),
            });
            self.value(until, depth.checked_add(1)?)?;
            self.active.truncate(until);
            self.blank();
            if self.take(b',').is_none() {
                return self.take(b']');
            }
        }
    }

    /// Adds the places of a value within this one: those whose step leads there, so many steps further.
    fn descend(&mut self, places: std::ops::Range<usize>, leads: impl Fn(&Step) -> Option<usize>) {
        for at in places {
            let Some(place) = self.active.get(at).copied() else { return };
            if let Some(further) = self.step(place).and_then(&leads) {
                self.active.push(Place { step: place.step.saturating_add(further), ..place });
            }
        }
    }

    /// Reads a string; yields where it stands between its quotes.
    fn string(&mut self) -> Option<std::ops::Range<usize>> {
        self.take(b'"')?;
        let start = self.at;
        loop {
            match self.text.get(self.at)? {
                b'"' => {
                    let end = self.at;
                    self.at = end.checked_add(1)?;
                    return Some(start..end);
                }
                b'\\' => self.at = self.at.checked_add(2)?,
                0..=0x1f => return None,
                _ => self.at = self.at.checked_add(1)?,
            }
        }
    }

    fn word(&mut self) -> Option<()> {
        let rest = self.text.get(self.at..)?;
        let word = [&b"null"[..], b"true", b"false"].into_iter().find(|word| rest.starts_with(word))?;
        self.at = self.at.checked_add(word.len())?;
        Some(())
    }

    fn take(&mut self, wanted: u8) -> Option<()> {
        (self.text.get(self.at) == Some(&wanted)).then(|| self.at = self.at.saturating_add(1))
    }

    fn blank(&mut self) {
        self.skip(|byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r'));
    }

    fn skip(&mut self, of: impl Fn(u8) -> bool) {
        let rest = self.text.get(self.at..).unwrap_or_default();
        self.at = self.at.saturating_add(rest.iter().take_while(|byte| of(**byte)).count());
    }

    /// Appends what stays, up to there.
    fn keep(&mut self, until: usize) -> Option<()> {
        self.out.put_slice(self.text.get(self.kept..until)?);
        self.kept = until;
        Some(())
    }

    /// Appends what becomes of a value that begins with this byte.
    fn put_masked(&mut self, value: &[u8], first: u8, masker: &Masker) -> Option<()> {
        let nothing = matches!(masker.kind(), MaskKind::Null);
        match first {
            _ if nothing => self.out.put_slice(b"null"),
            b'"' => {
                let raw = value.get(1..value.len().checked_sub(1)?)?;
                let mut shown = BytesMut::new();
                match string::decode(raw).map(|text| masker.mask_cell(text.as_bytes(), &mut shown)) {
                    Some(Masked::Value) => encode(&shown, self.out),
                    Some(Masked::Null) => self.out.put_slice(b"null"),
                    None => encode(HIDDEN, self.out),
                }
            }
            b'{' | b'[' if !matches!(masker.kind(), MaskKind::Zero) => encode(HIDDEN, self.out),
            b'-' | b'0'..=b'9' => self.out.put_u8(b'0'),
            _ => self.out.put_slice(b"null"),
        }
        Some(())
    }
}

#[cfg(test)]
mod tests;
