//! What the wire costs without a socket: finding frames, reading a RowDescription, rebuilding a masked row.

use std::hint::black_box;

use bytes::{BufMut, BytesMut};
use countersign_protocol::backend::{self, tag};
use countersign_protocol::frame::HEADER_LEN;
use countersign_protocol::row::{self, NewCell};
use countersign_protocol::{Frame, Header};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

/// As much as the proxy reads at once.
const READ_LEN: usize = 64 << 10;

/// A row as an application selects it: six columns, about 145 bytes.
const CELLS: [&[u8]; 6] = [
    b"1048576",
    b"Customer number 1048576",
    b"customer.1048576@mail.example.com",
    b"+49 30 901820 1048576",
    b"4012 8888 8888 1881",
    b"prefers to be called after six",
];

fn put_frame(out: &mut BytesMut, tag: u8, body: &[u8]) {
    out.put_u8(tag);
    out.put_u32(u32::try_from(body.len() + 4).expect("a short body"));
    out.put_slice(body);
}

fn data_row() -> BytesMut {
    let mut body = BytesMut::new();
    body.put_u16(6);
    for cell in CELLS {
        body.put_u32(u32::try_from(cell.len()).expect("a short cell"));
        body.put_slice(cell);
    }
    let mut frame = BytesMut::new();
    put_frame(&mut frame, tag::DATA_ROW, &body);
    frame
}

/// One read full of rows; the last is not complete.
fn rows() -> BytesMut {
    let row = data_row();
    let mut out = BytesMut::new();
    while out.len() < READ_LEN {
        out.put_slice(&row);
    }
    out.truncate(READ_LEN);
    out
}

fn row_description() -> BytesMut {
    let mut body = BytesMut::new();
    body.put_u16(6);
    for (name, attnum) in ["id", "name", "email", "phone", "card", "note"].iter().zip(1..) {
        body.put_slice(name.as_bytes());
        body.put_u8(0);
        body.put_u32(20_000);
        body.put_i16(attnum);
        body.put_u32(25);
        body.put_i16(-1);
        body.put_i32(-1);
        body.put_i16(0);
    }
    body
}

fn limit(_tag: u8) -> u32 {
    1 << 30
}

/// Walks over the headers of a buffer; the number of frames.
fn walk(mut buffer: &[u8]) -> usize {
    let mut frames = 0;
    while let Ok(Some(header)) = Header::peek(buffer, limit) {
        frames += 1;
        let Some(rest) = buffer.get(header.frame_len..) else { break };
        buffer = rest;
    }
    frames
}

fn frames(c: &mut Criterion) {
    let rows = rows();
    let mut group = c.benchmark_group("64 kB of rows");
    group.throughput(Throughput::Elements(walk(&rows) as u64));
    group.bench_function("walk over headers", |b| b.iter(|| walk(black_box(&rows))));
    group.bench_function("copy and take each frame", |b| {
        b.iter(|| {
            let mut buffer = BytesMut::from(black_box(&rows[..]));
            let mut length = 0;
            while let Ok(Some(frame)) = Frame::take(&mut buffer, limit) {
                length += frame.body().len();
            }
            length
        });
    });
    group.bench_function("rebuild 3 of 6 cells of each row", |b| {
        let mut out = BytesMut::with_capacity(2 * READ_LEN);
        b.iter(|| {
            out.clear();
            let mut buffer = black_box(&rows[..]);
            while let Ok(Some(header)) = Header::peek(buffer, limit) {
                let Some((frame, rest)) = buffer.split_at_checked(header.frame_len) else { break };
                row::rebuild(&mut out, &frame[HEADER_LEN..], |index| !(2..=4).contains(&index), masked).expect("a row");
                buffer = rest;
            }
            out.len()
        });
    });
    group.finish();
}

/// Stands for a masker that costs nothing.
fn masked(_index: usize, _cell: &[u8], out: &mut BytesMut) -> NewCell {
    out.put_slice(b"***************");
    NewCell::Replaced
}

fn descriptions(c: &mut Criterion) {
    let body = row_description();
    assert_eq!(backend::row_description(&body).expect("a RowDescription").len(), 6);
    c.bench_function("read a RowDescription of 6 columns", |b| b.iter(|| backend::row_description(black_box(&body))));
}

criterion_group!(benches, frames, descriptions);
criterion_main!(benches);
