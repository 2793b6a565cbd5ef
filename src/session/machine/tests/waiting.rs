//! What a session keeps while people decide.

use bytes::BytesMut;

use super::Setting;
use super::bench::Stage;
use super::notation::{backend, frontend};
use crate::session::{buffers, sockets};

const HELD: &str = "P - DELETE FROM customers WHERE id = 1 | B - - | D P - | E - | S";

/// A session that has sent this, with what came before it and what the upstream answered to that, and whose last statement
/// is held; what it asked for. Fails when the buffer that held it all cannot be lent to the next session.
#[track_caller]
fn gives_its_buffer_back(before: &[(&str, &str)], sent: &str) -> Stage {
    let mut stage = Stage::new(Setting::Plain);
    let mut read = BytesMut::new();
    buffers::lend(&mut read);
    let place = read.as_ptr();
    *stage.machine.client_input() = read;
    for (sent, answered) in before {
        stage.machine.client_input().extend_from_slice(&frontend(sent));
        stage.machine.advance(&stage.around);
        stage.machine.upstream_input().extend_from_slice(&backend(answered));
        stage.machine.advance(&stage.around);
        stage.collect();
    }
    stage.machine.client_input().extend_from_slice(&frontend(sent));
    stage.machine.advance(&stage.around);
    stage.collect();
    assert_eq!(stage.asked.last().map(String::as_str), Some("hold Open"), "{:?}", stage.asked);
    sockets::give_back_all_buffers(&mut stage.machine);
    let lent = std::iter::repeat_with(|| {
        let mut next = BytesMut::new();
        buffers::lend(&mut next);
        next
    });
    // They stay here, so that each is another one.
    let lent: Vec<BytesMut> = lent.take(8).collect();
    assert!(lent.iter().any(|buffer| buffer.as_ptr() == place), "somebody still sees a part of it");
    stage
}

#[test]
fn what_is_held_keeps_no_buffer() {
    gives_its_buffer_back(&[], "Q DELETE FROM customers");
    gives_its_buffer_back(&[], HELD);
    gives_its_buffer_back(&[("P s DELETE FROM customers WHERE id = $1 | S", "1 | Z I")], "B - s 1 | E - | S");
    gives_its_buffer_back(
        &[("Q BEGIN", "C BEGIN | Z T"), ("P - SELECT 1 | B - - | E - | S", "1 | 2 | C SELECT 1 | Z T")],
        HELD,
    );
}

#[test]
fn what_comes_behind_it_is_there_when_it_is_decided() {
    let mut stage = gives_its_buffer_back(&[], HELD);
    for event in ["opened", "approved", "refreshed", "begun"] {
        stage.cause(event);
    }
    assert_eq!(stage.to_upstream, frontend(HELD));
}

/// Its access request is made once, as long as its client waits for it.
#[test]
fn what_was_withdrawn_before_it_was_recorded_is_no_request() {
    for end in ["cancel", "upstream closed", "drain now"] {
        let mut stage = Stage::new(Setting::Plain);
        stage.machine.client_input().extend_from_slice(&frontend("Q DELETE FROM customers"));
        stage.machine.advance(&stage.around);
        stage.cause(end);
        assert!(stage.asked.iter().any(|asked| asked == "hold Open(withdrawn)"), "{end}: {:?}", stage.asked);
        assert!(!String::from_utf8_lossy(&stage.to_upstream).contains("DELETE"), "{end}");
    }
}
