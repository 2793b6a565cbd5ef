//! How many instructions does it take to find and to take frames?

use std::hint::black_box;

use bytes::BytesMut;
use countersign_instructions::{data_row, limit, put_frame};
use countersign_protocol::backend::tag;
use countersign_protocol::frontend;
use countersign_protocol::{Frame, Header};
use gungraun::prelude::*;

/// A Query as pgbench sends it.
fn query() -> BytesMut {
    let mut out = BytesMut::new();
    frontend::put_query(&mut out, "SELECT abalance FROM pgbench_accounts WHERE aid = 4711;");
    out
}

/// What answers it: three frames.
fn answer() -> BytesMut {
    let mut out = data_row();
    put_frame(&mut out, tag::COMMAND_COMPLETE, b"SELECT 1\0");
    put_frame(&mut out, tag::READY_FOR_QUERY, b"I");
    out
}

/// A read of 64 kB full of rows; the last is not complete.
fn rows() -> BytesMut {
    let row = data_row();
    let mut out = BytesMut::with_capacity(64 << 10);
    while out.len() + row.len() <= 64 << 10 {
        out.extend_from_slice(&row);
    }
    out.extend_from_slice(&row[..10]);
    out
}

#[library_benchmark]
#[bench::query(query())]
#[bench::answer(answer())]
fn take(mut buffer: BytesMut) -> (BytesMut, usize) {
    let mut length = 0;
    while let Ok(Some(frame)) = Frame::take(black_box(&mut buffer), limit) {
        length += frame.body().len();
    }
    (buffer, length)
}

#[library_benchmark]
#[bench::answer(answer())]
#[bench::rows_of_64_kb(rows())]
fn walk(buffer: BytesMut) -> (BytesMut, usize) {
    let (mut rest, mut frames) = (black_box(&buffer[..]), 0);
    while let Ok(Some(header)) = Header::peek(rest, limit) {
        frames += 1;
        let Some(behind) = rest.get(header.frame_len..) else { break };
        rest = behind;
    }
    (buffer, frames)
}

library_benchmark_group!(name = frames, benchmarks = [take, walk]);
main!(library_benchmark_groups = frames);
