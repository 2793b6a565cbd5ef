//! Every message of a client in every state of a session: the table of `docs/wire.md`, cell by cell.
//!
//! A module is a column, a test in it a row. Each is played with every split of what both sides send. Before each, `a` is
//! prepared as `SELECT 1` and `h` as a statement that needs approval. This file is long because it is a table.

const PREPARED: &str = "> P a SELECT 1 | P h DELETE FROM customers | S
    ^ P a SELECT 1 | P h DELETE FROM customers | S
    v 1 | 1 | Z I
    < 1 | 1 | Z I";

/// One test per message, each after what brings the session into the state.
macro_rules! cells {
    ($before:expr; $($name:ident: $script:expr;)*) => {
        pub(super) const CELLS: &[(&str, &str)] = &[$((stringify!($name), $script)),*];

        $(
            #[test]
            fn $name() {
                super::super::check(&format!("{}\n{}\n{}", super::PREPARED, $before, $script));
            }
        )*
    };
}

/// Whether a script shows what a word of the table says.
fn shows(script: &str, word: &str) -> bool {
    let asks = |what: &str| script.lines().any(|line| line.trim().starts_with('=') && line.contains(what));
    let says = |side: char| script.lines().any(|line| line.trim().starts_with(side));
    let first = script.lines().nth(1).map_or("", str::trim);
    let fails = script.contains("^ E nowhere") || script.contains("^ Q countersign refused a statement");
    match word {
        "forward" => first.starts_with('^') && !fails && !asks("Close"),
        "hold" => first.starts_with("= ") && asks("hold Open"),
        "answer" => !says('^') && script.contains("< E"),
        "fail" => first.starts_with('^') && fails,
        "skip" => script.trim_start().starts_with("> ") && (first == "> S" || first.is_empty()),
        "ignore" => !first.starts_with('^') && !script.contains("< E"),
        "wait" => first.starts_with('v') || first.starts_with('!'),
        "FATAL" => asks("Close") && script.contains("< E! 08P01"),
        "cancel" => asks("CancelUpstream"),
        "withdraw" => asks("Withdraw") && !asks("Begin"),
        "keep" => !says('^') && asks("GiveBack"),
        "end" => first == "^ X" && asks("Close"),
        _ => false,
    }
}

#[test]
fn the_table_in_the_manual_says_what_the_tests_show() {
    let columns: &[(&str, &[(&str, &str)])] = &[
        ("idle", idle::CELLS),
        ("in_block", in_block::CELLS),
        ("in_failed_block", in_failed_block::CELLS),
        ("in_pipeline", in_pipeline::CELLS),
        ("skipping_to_sync", skipping_to_sync::CELLS),
        ("in_copy", in_copy::CELLS),
        ("in_extended_copy", in_extended_copy::CELLS),
        ("while_running", while_running::CELLS),
        ("while_held", while_held::CELLS),
        ("while_held_in_pipeline", while_held_in_pipeline::CELLS),
    ];
    let manual = include_str!("../../../../docs/wire.md");
    let (_, tables) = manual.split_once("## The table").expect("the table");
    let (tables, _) = tables.split_once("\n## ").expect("the end of the table");
    let cells = |line: &'static str| line.trim_matches('|').split('|').map(|cell| cell.trim().trim_matches('`'));
    let mut header: Vec<&str> = Vec::new();
    let mut seen = 0;
    for line in tables.lines().filter(|line| line.starts_with('|') && !line.starts_with("|---")) {
        let mut row = cells(line);
        let message = row.next().expect("a first cell");
        if message.is_empty() {
            header = row.collect();
            continue;
        }
        for (state, word) in header.iter().zip(row) {
            let (_, column) = columns.iter().find(|(name, _)| name == state).expect("a state with tests");
            let (_, script) = column.iter().find(|(name, _)| *name == message).expect("a message with a test");
            assert!(shows(script, word), "{state}::{message} does not show \"{word}\":\n{script}");
            seen += 1;
        }
    }
    let tests: usize = columns.iter().map(|(_, cells)| cells.len()).sum();
    assert_eq!(seen, tests, "cells in the manual, and tests");
}

/// Outside of a transaction.
mod idle {
    cells! {
        "";
        query: "> Q SELECT 2\n^ Q SELECT 2\n= allow\nv T a | D 2 | C SELECT 1 | Z I\n< T a | D 2 | C SELECT 1 | Z I";
        query_denied: "> Q DROP TABLE free\n= deny\n< E 42501 | Z I";
        query_held: "> Q DELETE FROM customers\n= hold Open\n! opened\n< N 00000\n! rejected\n< E 42501 | Z I";
        parse: "> P b SELECT 2 | H\n^ P b SELECT 2 | H\nv 1\n< 1";
        parse_denied: "> P - DROP TABLE free\n^ E nowhere\n= deny\nv E 34000\n< E 42501\n> S\n^ S\nv Z I\n< Z I";
        bind: "> B q a | H\n^ B q a | H\nv 2\n< 2";
        describe: "> D S a | H\n^ D S a | H\nv t | T a\n< t | T a";
        execute: "> B - a | E - | H\n^ B - a | E - | H\n= allow\nv 2 | D 1 | C SELECT 1\n< 2 | D 1 | C SELECT 1";
        execute_held:
            "> B - h | E -
             = hold Open
             ! opened
             < N 00000
             ! rejected
             ^ E nowhere
             v E 34000
             < E 42501
             > S
             ^ S
             v Z I
             < Z I";
        close: "> C S a | H\n^ C S a | H\nv 3\n< 3";
        flush: "> H";
        sync: "> S\n^ S\nv Z I\n< Z I";
        function_call: "> F\n< E 0A000 | Z I";
        copy_data: "> d one\n> Q SELECT 2\n^ Q SELECT 2\n= allow";
        copy_done: "> c\n> Q SELECT 2\n^ Q SELECT 2\n= allow";
        copy_fail: "> f no\n> Q SELECT 2\n^ Q SELECT 2\n= allow";
        terminate: "> X\n= GiveBack";
        unknown: "> raw !\0\0\0\x04\n^ X\n= Close\n< E! 08P01";
        cancel_request: "! cancel";
        disconnect: "! client closed\n^ X\n= Close";
    }
}

/// In an open transaction block.
mod in_block {
    cells! {
        "> Q BEGIN
            ^ Q BEGIN
            = allow
            v C BEGIN | Z T
            < C BEGIN | Z T";
        query: "> Q SELECT 2\n^ Q SELECT 2\n= allow\nv T a | D 2 | C SELECT 1 | Z T\n< T a | D 2 | C SELECT 1 | Z T";
        query_denied:
            "> Q DROP TABLE free
             ^ Q countersign refused a statement
             = deny
             v E 42601 | Z E
             < E 42501 | Z E";
        query_held:
            "> Q DELETE FROM customers
             = hold Open
             ! opened
             < N 00000
             ! rejected
             ^ Q countersign refused a statement
             v E 42601 | Z E
             < E 42501 | Z E";
        parse: "> P b SELECT 2 | H\n^ P b SELECT 2 | H\nv 1\n< 1";
        parse_denied: "> P - DROP TABLE free\n^ E nowhere\n= deny\nv E 34000\n< E 42501\n> S\n^ S\nv Z E\n< Z E";
        bind: "> B q a | H\n^ B q a | H\nv 2\n< 2";
        describe: "> D S a | H\n^ D S a | H\nv t | T a\n< t | T a";
        execute: "> B - a | E - | H\n^ B - a | E - | H\n= allow\nv 2 | D 1 | C SELECT 1\n< 2 | D 1 | C SELECT 1";
        execute_held:
            "> B - h | E -
             = hold Open
             ! opened
             < N 00000
             ! rejected
             ^ E nowhere
             v E 34000
             < E 42501
             > S
             ^ S
             v Z E
             < Z E";
        close: "> C S a | H\n^ C S a | H\nv 3\n< 3";
        flush: "> H";
        sync: "> S\n^ S\nv Z T\n< Z T";
        function_call: "> F\n^ Q countersign refused a statement\nv E 42601 | Z E\n< E 0A000 | Z E";
        copy_data: "> d one\n> Q SELECT 2\n^ Q SELECT 2\n= allow";
        copy_done: "> c\n> Q SELECT 2\n^ Q SELECT 2\n= allow";
        copy_fail: "> f no\n> Q SELECT 2\n^ Q SELECT 2\n= allow";
        terminate: "> X\n^ X";
        unknown: "> raw !\0\0\0\x04\n^ X\n= Close\n< E! 08P01";
        cancel_request: "! cancel";
        disconnect: "! client closed\n^ X\n= Close";
    }
}

/// In a block that has failed.
mod in_failed_block {
    cells! {
        "> Q BEGIN
            ^ Q BEGIN
            = allow
            v C BEGIN | Z T
            < C BEGIN | Z T
            > Q SELECT upper('x')
            ^ Q SELECT upper('x')
            = allow
            v E 22012 | Z E
            < E 22012 | Z E";
        query: "> Q SELECT 2\n^ Q SELECT 2\n= allow\nv E 25P02 | Z E\n< E 25P02 | Z E";
        query_denied:
            "> Q DROP TABLE free
             ^ Q countersign refused a statement
             = deny
             v E 42601 | Z E
             < E 42501 | Z E";
        query_held:
            "> Q DELETE FROM customers
             ^ Q countersign refused a statement
             = deny
             v E 42601 | Z E
             < E 25P02 | Z E";
        parse: "> P b SELECT 2 | H\n^ P b SELECT 2 | H\nv E 25P02\n< E 25P02";
        parse_denied: "> P - DROP TABLE free\n^ E nowhere\n= deny\nv E 34000\n< E 42501\n> S\n^ S\nv Z E\n< Z E";
        bind: "> B q a | H\n^ B q a | H\nv E 25P02\n< E 25P02";
        describe: "> D S a | H\n^ D S a | H\nv E 25P02\n< E 25P02";
        execute: "> B - a | E - | H\n^ B - a | E - | H\n= allow\nv E 25P02\n< E 25P02";
        execute_held: "> B - h | E -\n^ E nowhere\n= deny\nv E 34000\n< E 25P02\n> S\n^ S\nv Z E\n< Z E";
        close: "> C S a | H\n^ C S a | H\nv 3\n< 3";
        flush: "> H";
        sync: "> S\n^ S\nv Z E\n< Z E";
        function_call: "> F\n^ Q countersign refused a statement\nv E 42601 | Z E\n< E 0A000 | Z E";
        copy_data: "> d one\n> Q SELECT 2\n^ Q SELECT 2\n= allow";
        copy_done: "> c\n> Q SELECT 2\n^ Q SELECT 2\n= allow";
        copy_fail: "> f no\n> Q SELECT 2\n^ Q SELECT 2\n= allow";
        terminate: "> X\n^ X";
        unknown: "> raw !\0\0\0\x04\n^ X\n= Close\n< E! 08P01";
        cancel_request: "! cancel";
        disconnect: "! client closed\n^ X\n= Close";
    }
}

/// After an Execute that no Sync has ended.
mod in_pipeline {
    cells! {
        "> B p a | E p | H
            ^ B p a | E p | H
            = allow
            v 2 | D 1 | C SELECT 1
            < 2 | D 1 | C SELECT 1";
        query: "> Q SELECT 2\n^ Q SELECT 2\n= allow\nv T a | D 2 | C SELECT 1 | Z I\n< T a | D 2 | C SELECT 1 | Z I";
        query_denied:
            "> Q DROP TABLE free
             ^ Q countersign refused a statement
             = deny
             v E 42601 | Z I
             < E 42501 | Z I";
        query_held:
            "> Q DELETE FROM customers
             = hold Open
             ! opened
             < N 00000
             ! rejected
             ^ Q countersign refused a statement
             v E 42601 | Z I
             < E 42501 | Z I";
        parse: "> P b SELECT 2 | H\n^ P b SELECT 2 | H\nv 1\n< 1";
        parse_denied: "> P - DROP TABLE free\n^ E nowhere\n= deny\nv E 34000\n< E 42501\n> S\n^ S\nv Z I\n< Z I";
        bind: "> B q a | H\n^ B q a | H\nv 2\n< 2";
        describe: "> D S a | H\n^ D S a | H\nv t | T a\n< t | T a";
        execute: "> B - a | E - | H\n^ B - a | E - | H\n= allow\nv 2 | D 1 | C SELECT 1\n< 2 | D 1 | C SELECT 1";
        execute_held:
            "> B - h | E -
             = hold Open
             ! opened
             < N 00000
             ! rejected
             ^ E nowhere
             v E 34000
             < E 42501
             > S
             ^ S
             v Z I
             < Z I";
        close: "> C S a | H\n^ C S a | H\nv 3\n< 3";
        flush: "> H";
        sync: "> S\n^ S\nv Z I\n< Z I";
        function_call: "> F\n^ Q countersign refused a statement\nv E 42601 | Z I\n< E 0A000 | Z I";
        copy_data: "> d one\n> Q SELECT 2\n^ Q SELECT 2\n= allow";
        copy_done: "> c\n> Q SELECT 2\n^ Q SELECT 2\n= allow";
        copy_fail: "> f no\n> Q SELECT 2\n^ Q SELECT 2\n= allow";
        terminate: "> X\n^ X";
        unknown: "> raw !\0\0\0\x04\n^ X\n= Close\n< E! 08P01";
        cancel_request: "! cancel";
        disconnect: "! client closed\n^ X\n= Close";
    }
}

/// After an error in a pipeline.
mod skipping_to_sync {
    cells! {
        "> D S gone | H
            ^ D S gone | H
            v E 26000
            < E 26000";
        query: "> Q SELECT 2\n> S\n^ S\nv Z I\n< Z I";
        query_denied: "> Q DROP TABLE free\n> S\n^ S\nv Z I\n< Z I";
        query_held: "> Q DELETE FROM customers\n> S\n^ S\nv Z I\n< Z I";
        parse: "> P b SELECT 2 | H\n> S\n^ S\nv Z I\n< Z I";
        parse_denied: "> P - DROP TABLE free\n> S\n^ S\nv Z I\n< Z I";
        bind: "> B q a | H\n> S\n^ S\nv Z I\n< Z I";
        describe: "> D S a | H\n> S\n^ S\nv Z I\n< Z I";
        execute: "> B - a | E - | H\n> S\n^ S\nv Z I\n< Z I";
        execute_held: "> B - h | E -\n> S\n^ S\nv Z I\n< Z I";
        close: "> C S a | H\n> S\n^ S\nv Z I\n< Z I";
        flush: "> H\n> S\n^ S\nv Z I\n< Z I";
        sync: "> S\n^ S\nv Z I\n< Z I";
        function_call: "> F\n> S\n^ S\nv Z I\n< Z I";
        copy_data: "> d one\n> S\n^ S\nv Z I\n< Z I";
        copy_done: "> c\n> S\n^ S\nv Z I\n< Z I";
        copy_fail: "> f no\n> S\n^ S\nv Z I\n< Z I";
        terminate: "> X\n^ X";
        unknown: "> raw !\0\0\0\x04\n^ X\n= Close\n< E! 08P01";
        cancel_request: "! cancel";
        disconnect: "! client closed\n^ X\n= Close";
    }
}

/// The upstream reads CopyData for a Query.
mod in_copy {
    cells! {
        "> Q COPY free FROM STDIN
            ^ Q COPY free FROM STDIN
            = allow
            v G
            < G";
        query: "> Q SELECT 2\n^ f OUT\nv E OUT\n^ X\n= Close\n< E! 08P01";
        query_denied: "> Q DROP TABLE free\n^ f OUT\nv E OUT\n^ X\n= Close\n< E! 08P01";
        query_held: "> Q DELETE FROM customers\n^ f OUT\nv E OUT\n^ X\n= Close\n< E! 08P01";
        parse: "> P b SELECT 2 | H\n^ f OUT\nv E OUT\n^ X\n= Close\n< E! 08P01";
        parse_denied: "> P - DROP TABLE free\n^ f OUT\nv E OUT\n^ X\n= Close\n< E! 08P01";
        bind: "> B q a | H\n^ f OUT\nv E OUT\n^ X\n= Close\n< E! 08P01";
        describe: "> D S a | H\n^ f OUT\nv E OUT\n^ X\n= Close\n< E! 08P01";
        execute: "> B - a | E - | H\n^ f OUT\nv E OUT\n^ X\n= Close\n< E! 08P01";
        execute_held: "> B - h | E -\n^ f OUT\nv E OUT\n^ X\n= Close\n< E! 08P01";
        close: "> C S a | H\n^ f OUT\nv E OUT\n^ X\n= Close\n< E! 08P01";
        flush: "> H\n> c\n^ c\nv C COPY 1 | Z I\n< C COPY 1 | Z I";
        sync: "> S\n^ S\n> c\n^ c\nv C COPY 1 | Z I\n< C COPY 1 | Z I";
        function_call: "> F\n^ f OUT\nv E OUT\n^ X\n= Close\n< E! 08P01";
        copy_data: "> d one\n^ d one\n> c\n^ c\nv C COPY 1 | Z I\n< C COPY 1 | Z I";
        copy_done: "> c\n^ c\nv C COPY 1 | Z I\n< C COPY 1 | Z I";
        copy_fail: "> f no\n^ f no\nv E 57014 | Z I\n< E 57014 | Z I";
        terminate: "> X\n^ X";
        unknown: "> raw !\0\0\0\x04\n^ f OUT\nv E OUT\n^ X\n= Close\n< E! 08P01";
        cancel_request: "! cancel\n= CancelUpstream\nv E 57014 | Z I\n< E 57014 | Z I\n! cancel sent";
        disconnect: "! client closed\n^ X\n= Close";
    }
}

/// The upstream reads CopyData for an Execute.
mod in_extended_copy {
    cells! {
        "> P - COPY free FROM STDIN | B - - | E - | H
            ^ P - COPY free FROM STDIN | B - - | E - | H
            = allow
            v 1 | 2 | G
            < 1 | 2 | G";
        query: "> Q SELECT 2\n^ f OUT\nv E OUT\n^ X\n= Close\n< E! 08P01";
        query_denied: "> Q DROP TABLE free\n^ f OUT\nv E OUT\n^ X\n= Close\n< E! 08P01";
        query_held: "> Q DELETE FROM customers\n^ f OUT\nv E OUT\n^ X\n= Close\n< E! 08P01";
        parse: "> P b SELECT 2 | H\n^ f OUT\nv E OUT\n^ X\n= Close\n< E! 08P01";
        parse_denied: "> P - DROP TABLE free\n^ f OUT\nv E OUT\n^ X\n= Close\n< E! 08P01";
        bind: "> B q a | H\n^ f OUT\nv E OUT\n^ X\n= Close\n< E! 08P01";
        describe: "> D S a | H\n^ f OUT\nv E OUT\n^ X\n= Close\n< E! 08P01";
        execute: "> B - a | E - | H\n^ f OUT\nv E OUT\n^ X\n= Close\n< E! 08P01";
        execute_held: "> B - h | E -\n^ f OUT\nv E OUT\n^ X\n= Close\n< E! 08P01";
        close: "> C S a | H\n^ f OUT\nv E OUT\n^ X\n= Close\n< E! 08P01";
        flush: "> H\n> c\n^ c\nv C COPY 1\n< C COPY 1";
        sync: "> S\n^ S\n> c\n^ c\nv C COPY 1\n< C COPY 1";
        function_call: "> F\n^ f OUT\nv E OUT\n^ X\n= Close\n< E! 08P01";
        copy_data: "> d one\n^ d one\n> c\n^ c\nv C COPY 1\n< C COPY 1";
        copy_done: "> c\n^ c\nv C COPY 1\n< C COPY 1";
        copy_fail: "> f no\n^ f no\nv E 57014\n< E 57014";
        terminate: "> X\n^ X";
        unknown: "> raw !\0\0\0\x04\n^ f OUT\nv E OUT\n^ X\n= Close\n< E! 08P01";
        cancel_request: "! cancel\n= CancelUpstream\nv E 57014\n< E 57014\n! cancel sent";
        disconnect: "! client closed\n^ X\n= Close";
    }
}

/// A Query runs.
mod while_running {
    cells! {
        "> Q SELECT upper('x')
            ^ Q SELECT upper('x')
            = allow";
        query: "> Q SELECT 2\nv T a | D X | C SELECT 1 | Z I\n^ Q SELECT 2\n= allow\n< T a | D X | C SELECT 1 | Z I";
        query_denied:
            "> Q DROP TABLE free
             v T a | D X | C SELECT 1 | Z I
             = deny
             < T a | D X | C SELECT 1 | Z I | E 42501 | Z I";
        query_held:
            "> Q DELETE FROM customers
             v T a | D X | C SELECT 1 | Z I
             = hold Open
             < T a | D X | C SELECT 1 | Z I";
        parse:
            "> P b SELECT 2 | H
             ^ P b SELECT 2 | H
             v T a | D X | C SELECT 1 | Z I
             < T a | D X | C SELECT 1 | Z I";
        parse_denied:
            "> P - DROP TABLE free
             ^ E nowhere
             = deny
             v T a | D X | C SELECT 1 | Z I
             < T a | D X | C SELECT 1 | Z I";
        bind: "> B q a | H\n^ B q a | H\nv T a | D X | C SELECT 1 | Z I\n< T a | D X | C SELECT 1 | Z I";
        describe: "> D S a | H\n^ D S a | H\nv T a | D X | C SELECT 1 | Z I\n< T a | D X | C SELECT 1 | Z I";
        execute:
            "> B - a | E - | H
             ^ B - a | E - | H
             = allow
             v T a | D X | C SELECT 1 | Z I
             < T a | D X | C SELECT 1 | Z I";
        execute_held: "> B - h | E -\n= hold Open\nv T a | D X | C SELECT 1 | Z I\n< T a | D X | C SELECT 1 | Z I";
        close: "> C S a | H\n^ C S a | H\nv T a | D X | C SELECT 1 | Z I\n< T a | D X | C SELECT 1 | Z I";
        flush: "> H\nv T a | D X | C SELECT 1 | Z I\n< T a | D X | C SELECT 1 | Z I";
        sync: "> S\n^ S\nv T a | D X | C SELECT 1 | Z I\n< T a | D X | C SELECT 1 | Z I";
        function_call: "> F\nv T a | D X | C SELECT 1 | Z I\n< T a | D X | C SELECT 1 | Z I | E 0A000 | Z I";
        copy_data: "> d one\nv T a | D X | C SELECT 1 | Z I\n< T a | D X | C SELECT 1 | Z I";
        copy_done: "> c\nv T a | D X | C SELECT 1 | Z I\n< T a | D X | C SELECT 1 | Z I";
        copy_fail: "> f no\nv T a | D X | C SELECT 1 | Z I\n< T a | D X | C SELECT 1 | Z I";
        terminate: "> X\n^ X\nv T a | D X | C SELECT 1 | Z I\n< T a | D X | C SELECT 1 | Z I";
        unknown:
            "> raw !\0\0\0\x04
             v T a | D X | C SELECT 1 | Z I
             ^ X
             = Close
             < T a | D X | C SELECT 1 | Z I | E! 08P01";
        cancel_request: "! cancel\n= CancelUpstream\nv E 57014 | Z I\n< E 57014 | Z I\n! cancel sent";
        disconnect: "! client closed\n^ X\n= Close";
    }
}

/// A Query waits for people.
mod while_held {
    cells! {
        "> Q DELETE FROM customers
            = hold Open
            ! opened
            < N 00000";
        query: "> Q SELECT 2\n! rejected\n^ Q SELECT 2\n= allow\n< E 42501 | Z I";
        query_denied: "> Q DROP TABLE free\n! rejected\n= deny\n< E 42501 | Z I | E 42501 | Z I";
        query_held: "> Q DELETE FROM customers\n! rejected\n= hold Open\n< E 42501 | Z I";
        parse: "> P b SELECT 2 | H\n! rejected\n^ P b SELECT 2 | H\n< E 42501 | Z I";
        parse_denied: "> P - DROP TABLE free\n! rejected\n^ E nowhere\n= deny\n< E 42501 | Z I";
        bind: "> B q a | H\n! rejected\n^ B q a | H\n< E 42501 | Z I";
        describe: "> D S a | H\n! rejected\n^ D S a | H\n< E 42501 | Z I";
        execute: "> B - a | E - | H\n! rejected\n^ B - a | E - | H\n= allow\n< E 42501 | Z I";
        execute_held: "> B - h | E -\n! rejected\n= hold Open\n< E 42501 | Z I";
        close: "> C S a | H\n! rejected\n^ C S a | H\n< E 42501 | Z I";
        flush: "> H\n! rejected\n< E 42501 | Z I";
        sync: "> S\n! rejected\n^ S\n< E 42501 | Z I";
        function_call: "> F\n! rejected\n< E 42501 | Z I | E 0A000 | Z I";
        copy_data: "> d one\n! rejected\n< E 42501 | Z I";
        copy_done: "> c\n! rejected\n< E 42501 | Z I";
        copy_fail: "> f no\n! rejected\n< E 42501 | Z I";
        terminate: "> X\n! client closed\n^ X\n= Withdraw Close";
        unknown: "> raw !\0\0\0\x04\n! rejected\n^ X\n= Close\n< E 42501 | Z I | E! 08P01";
        cancel_request: "! cancel\n= Withdraw\n< E 57014 | Z I";
        disconnect: "! client closed\n^ X\n= Withdraw Close";
    }
}

/// An Execute waits for people, behind one that runs, and its Sync has been sent.
mod while_held_in_pipeline {
    cells! {
        "> B - a | E - | B - h | E - | S
            ^ B - a | E - | H
            = allow hold Open
            ! opened
            < N 00000
            v 2 | D 1 | C SELECT 1
            < 2 | D 1 | C SELECT 1";
        query: "> Q SELECT 2\n! rejected\n^ E nowhere | S\nv E 34000 | Z I\n^ Q SELECT 2\n= allow\n< E 42501 | Z I";
        query_denied:
            "> Q DROP TABLE free
             ! rejected
             ^ E nowhere | S
             v E 34000 | Z I
             = deny
             < E 42501 | Z I | E 42501 | Z I";
        query_held:
            "> Q DELETE FROM customers
             ! rejected
             ^ E nowhere | S
             v E 34000 | Z I
             = hold Open
             < E 42501 | Z I";
        parse: "> P b SELECT 2 | H\n! rejected\n^ E nowhere | S | P b SELECT 2 | H\nv E 34000 | Z I\n< E 42501 | Z I";
        parse_denied:
            "> P - DROP TABLE free
             ! rejected
             ^ E nowhere | S | E nowhere
             = deny
             v E 34000 | Z I
             < E 42501 | Z I";
        bind: "> B q a | H\n! rejected\n^ E nowhere | S | B q a | H\nv E 34000 | Z I\n< E 42501 | Z I";
        describe: "> D S a | H\n! rejected\n^ E nowhere | S | D S a | H\nv E 34000 | Z I\n< E 42501 | Z I";
        execute:
            "> B - a | E - | H
             ! rejected
             ^ E nowhere | S | B - a | E - | H
             = allow
             v E 34000 | Z I
             < E 42501 | Z I";
        execute_held: "> B - h | E -\n! rejected\n^ E nowhere | S\n= hold Open\nv E 34000 | Z I\n< E 42501 | Z I";
        close: "> C S a | H\n! rejected\n^ E nowhere | S | C S a | H\nv E 34000 | Z I\n< E 42501 | Z I";
        flush: "> H\n! rejected\n^ E nowhere | S\nv E 34000 | Z I\n< E 42501 | Z I";
        sync: "> S\n! rejected\n^ E nowhere | S | S\nv E 34000 | Z I\n< E 42501 | Z I";
        function_call: "> F\n! rejected\n^ E nowhere | S\nv E 34000 | Z I\n< E 42501 | Z I | E 0A000 | Z I";
        copy_data: "> d one\n! rejected\n^ E nowhere | S\nv E 34000 | Z I\n< E 42501 | Z I";
        copy_done: "> c\n! rejected\n^ E nowhere | S\nv E 34000 | Z I\n< E 42501 | Z I";
        copy_fail: "> f no\n! rejected\n^ E nowhere | S\nv E 34000 | Z I\n< E 42501 | Z I";
        terminate: "> X\n! client closed\n^ X\n= Withdraw Close";
        unknown:
            "> raw !\0\0\0\x04
             ! rejected
             ^ E nowhere | S
             v E 34000 | Z I
             ^ X
             = Close
             < E 42501 | Z I | E! 08P01";
        cancel_request: "! cancel\n^ E nowhere | S\n= Withdraw\nv E 34000 | Z I\n< E 57014 | Z I";
        disconnect: "! client closed\n^ X\n= Withdraw Close";
    }
}
