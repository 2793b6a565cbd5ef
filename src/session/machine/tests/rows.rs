//! Rows in great numbers.

use super::Setting;
use super::bench::Stage;
use super::notation::{backend, frontend};

/// A session that reads the rows of a statement: the rows, and what becomes of them together.
fn read(statement: &str, description: &str, row: &str) -> (Stage, Vec<u8>) {
    let mut stage = Stage::new(Setting::Masked);
    stage.machine.client_input().extend_from_slice(&frontend(&format!("Q {statement}")));
    stage.machine.advance(&stage.around);
    stage.machine.upstream_input().extend_from_slice(&backend(description));
    stage.machine.advance(&stage.around);
    stage.collect();
    (stage, backend(row).repeat(1000))
}

/// Rows that nothing changes leave in the buffer that they were read into, whatever is cut off at its end.
#[test]
fn rows_that_pass_are_not_copied() {
    for cut in [0, 1, 6] {
        let (mut stage, rows) = read("SELECT id FROM free", "T id:20002:1", "D value");
        let now = &rows[..rows.len() - cut];
        stage.machine.upstream_input().extend_from_slice(now);
        let buffer = stage.machine.upstream_input().as_ptr();
        stage.machine.advance(&stage.around);
        // Of a row that is not complete only what is less than its header waits.
        let waiting = now.len() - stage.machine.client_output().len();
        assert!(waiting < 5, "{waiting} bytes wait");
        assert_eq!(stage.machine.client_output().as_ptr(), buffer, "cut by {cut}");
        let before = stage.machine.client_output().split();
        stage.machine.upstream_input().extend_from_slice(&rows[now.len()..]);
        stage.machine.advance(&stage.around);
        assert_eq!([before, stage.machine.client_output().split()].concat(), rows);
    }
}

#[test]
fn rows_are_masked_as_many_as_there_are() {
    for cut in [0, 1, 6] {
        let (mut stage, rows) = read("SELECT email FROM customers", "T email:20001:2", "D ada@x.org");
        let (now, later) = rows.split_at(rows.len() - cut);
        for part in [now, later] {
            stage.machine.upstream_input().extend_from_slice(part);
            stage.machine.advance(&stage.around);
        }
        assert_eq!(stage.machine.client_output()[..], backend("D ***").repeat(1000));
    }
}
