//! Rows are encoded here once more, straight from the server's sources, and compared.

use proptest::prelude::*;

use super::*;
use crate::frame::Frame;

type Cell = Option<Vec<u8>>;

fn text(delimiter: u8, null: &str, header: bool) -> Layout {
    Layout::Text(Text::new(delimiter, null.into(), header).unwrap())
}

fn csv(options: [u8; 3], null: &str, force_quote: Vec<bool>) -> Layout {
    let [delimiter, quote, escape] = options;
    Layout::Csv(Csv { delimiter, null: null.into(), header: false, quote, escape, force_quote })
}

/// A row as `copyto.c` writes it.
fn encode(layout: &Layout, row: &[Cell]) -> Vec<u8> {
    let mut out = Vec::new();
    match layout {
        Layout::Binary => {
            out.extend(u16::try_from(row.len()).unwrap().to_be_bytes());
            for cell in row {
                let length = cell.as_ref().map_or(-1, |cell| i32::try_from(cell.len()).unwrap());
                out.extend(length.to_be_bytes());
                out.extend(cell.iter().flatten());
            }
        }
        Layout::Text(_) | Layout::Csv(_) => {
            for (index, cell) in row.iter().enumerate() {
                let (delimiter, null) = match layout {
                    Layout::Csv(csv) => (csv.delimiter, csv.null.clone()),
                    _ => (b'\t', b"\\N".to_vec()),
                };
                if index > 0 {
                    out.push(delimiter);
                }
                match (cell, layout) {
                    (None, _) => out.extend(null),
                    (Some(cell), Layout::Csv(csv)) => encode_csv(csv, index, cell, row.len() == 1, &mut out),
                    (Some(cell), _) => encode_text(cell, &mut out),
                }
            }
            out.push(b'\n');
        }
    }
    out
}

fn encode_text(cell: &[u8], out: &mut Vec<u8>) {
    for byte in cell {
        match byte {
            b'\t' => out.extend(b"\\t"),
            b'\n' => out.extend(b"\\n"),
            b'\r' => out.extend(b"\\r"),
            b'\\' => out.extend(b"\\\\"),
            other => out.push(*other),
        }
    }
}

fn encode_csv(csv: &Csv, index: usize, cell: &[u8], single: bool, out: &mut Vec<u8>) {
    let special = [csv.delimiter, csv.quote, b'\n', b'\r'];
    let quoted = csv.force_quote[index]
        || cell == csv.null
        || (single && cell == b"\\.")
        || cell.iter().any(|byte| special.contains(byte));
    if !quoted {
        return out.extend(cell);
    }
    out.push(csv.quote);
    for byte in cell {
        if *byte == csv.quote || *byte == csv.escape {
            out.push(csv.escape);
        }
        out.push(*byte);
    }
    out.push(csv.quote);
}

/// The file: what is before the rows, the rows, what is behind them.
fn file(layout: &Layout, rows: &[Vec<Cell>]) -> Vec<u8> {
    let mut out = Vec::new();
    let is_binary = matches!(layout, Layout::Binary);
    if is_binary {
        out.extend(b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\x02ab");
    }
    if matches!(layout, Layout::Text(text) if text.header) {
        out.extend(b"secret\tname\n");
    }
    rows.iter().for_each(|row| out.extend(encode(layout, row)));
    if is_binary {
        out.extend([0xff, 0xff]);
    }
    out
}

/// Sends the file in these pieces and yields what comes out.
fn send(layout: &Layout, columns: usize, pieces: &[&[u8]], change: Change<'_>) -> Result<Vec<u8>, ProtocolError> {
    let mut copy = CopyOut::new(layout.clone(), (0..columns).map(|index| index % 2 == 0).collect());
    let (mut out, mut whole) = (BytesMut::new(), Vec::new());
    for piece in pieces {
        copy.push(piece, &mut out, change)?;
    }
    copy.finish()?;
    while let Some(frame) = Frame::take(&mut out, |_| 1 << 20)? {
        assert!(!frame.body().is_empty());
        whole.extend_from_slice(frame.body());
    }
    Ok(whole)
}

/// NULL for what begins with `n`, the same for what begins with `k`, else something that needs quotes and escapes.
fn masked(cell: &Cell) -> Cell {
    match cell {
        None => None,
        Some(cell) if cell.starts_with(b"n") => None,
        Some(cell) if cell.starts_with(b"k") => Some(cell.clone()),
        Some(_) => Some(b"*, \"\\\t\n'*".to_vec()),
    }
}

fn mask(_: usize, cell: &[u8], out: &mut BytesMut) -> NewCell {
    match masked(&Some(cell.to_vec())) {
        None => NewCell::Null,
        Some(same) if same == cell => NewCell::Keep,
        Some(other) => {
            out.extend_from_slice(&other);
            NewCell::Replaced
        }
    }
}

fn expected(rows: &[Vec<Cell>]) -> Vec<Vec<Cell>> {
    let row = |row: &Vec<Cell>| {
        row.iter().enumerate().map(|(index, cell)| if index % 2 == 0 { masked(cell) } else { cell.clone() }).collect()
    };
    rows.iter().map(row).collect()
}

fn layouts(columns: usize) -> Vec<Layout> {
    let force = |all: bool| (0..columns).map(|index| all || index % 3 == 1).collect::<Vec<_>>();
    vec![
        text(b'\t', "\\N", false),
        text(b'\t', "\\N", true),
        csv([b',', b'"', b'"'], "", force(false)),
        csv([b',', b'"', b'\\'], "", force(false)),
        csv([b';', b'\'', b','], "NULL", force(true)),
        csv([b',', b'"', b'\''], "n", force(false)),
        Layout::Binary,
    ]
}

fn rows() -> impl Strategy<Value = Vec<Vec<Cell>>> {
    let cell = prop::option::of(prop_oneof![
        "[a-zkn,;\"'\\\\\t\n é]{0,5}".prop_map(String::into_bytes),
        Just(b"\\.".to_vec()),
        Just(b"NULL".to_vec()),
    ]);
    (1_usize..4).prop_flat_map(move |columns| {
        prop::collection::vec(prop::collection::vec(cell.clone(), columns..=columns), 0..4)
    })
}

proptest! {
    #[test]
    fn changed_cells_are_written_as_the_server_would_at_every_split(rows in rows()) {
        let columns = rows.first().map_or(1, Vec::len);
        for layout in layouts(columns) {
            let whole = file(&layout, &rows);
            let wanted = file(&layout, &expected(&rows));
            prop_assert_eq!(&send(&layout, columns, &[&whole], &mut mask).unwrap(), &wanted, "{:?}", layout);
            let bytes: Vec<_> = whole.chunks(1).collect();
            prop_assert_eq!(&send(&layout, columns, &bytes, &mut mask).unwrap(), &wanted);
            for at in 0..whole.len() {
                let (head, tail) = whole.split_at(at);
                prop_assert_eq!(&send(&layout, columns, &[head, tail], &mut mask).unwrap(), &wanted, "{} {:?}", at, layout);
            }
        }
    }

    #[test]
    fn what_stays_is_the_same_bytes(rows in rows()) {
        let columns = rows.first().map_or(1, Vec::len);
        for layout in layouts(columns) {
            let whole = file(&layout, &rows);
            let kept = send(&layout, columns, &[&whole], &mut |_, _, _| NewCell::Keep).unwrap();
            prop_assert_eq!(kept, whole);
        }
    }

    #[test]
    fn nothing_of_a_masked_cell_passes_whatever_comes(
        mut bytes in prop::collection::vec(any::<u8>(), 0..40),
        at in 0_usize..40,
        columns in 0_usize..3,
    ) {
        bytes.splice(at.min(bytes.len())..at.min(bytes.len()), *b"secret");
        for layout in layouts(columns) {
            let mut copy = CopyOut::new(layout, vec![true; columns]);
            let mut out = BytesMut::new();
            // Whatever is rejected, nothing of it may be in what was sent.
            let _ = copy.push(&bytes, &mut out, &mut |_, _, _| NewCell::Null);
            let headed = matches!(&copy.layout, Layout::Text(text) if text.header);
            prop_assert!(headed || columns == 0 || !out.windows(6).any(|window| window == b"secret"));
        }
    }
}

#[track_caller]
fn check(layout: &Layout, columns: usize, given: &[u8], expected: Option<&[u8]>) {
    let got = send(layout, columns, &[given], &mut mask);
    assert_eq!(got.ok().as_deref(), expected, "{given:?}");
}

#[test]
fn a_row_with_another_number_of_columns_is_refused() {
    check(&text(b'\t', "\\N", false), 2, b"a\n", None);
    check(&text(b'\t', "\\N", false), 2, b"a\tb\tc\n", None);
    check(&csv([b',', b'"', b'"'], "", vec![false; 2]), 2, b"a,b,c\n", None);
    check(&Layout::Binary, 2, b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0\0\x01\0\0\0\x01x", None);
    check(&text(b'\t', "\\N", false), 0, b"\n", Some(b"\n"));
    check(&text(b'\t', "\\N", false), 1, b"unfinished", None);
}

#[test]
fn a_binary_file_is_checked() {
    const HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
    let with = |rest: &[u8]| [HEADER, rest].concat();
    check(&Layout::Binary, 1, &with(b"\xff\xff"), Some(&with(b"\xff\xff")));
    check(&Layout::Binary, 1, &with(b"\xff\xffsecret"), None);
    check(&Layout::Binary, 1, &with(b"\0\x01\xff\xff\xff\xfe"), None);
    check(&Layout::Binary, 1, b"PGCOPX\n\xff\r\n\0\0\0\0\0\0\0\0\0\xff\xff", None);
    check(&Layout::Binary, 1, b"PGCOPY\n\xff\r\n\0\0\x01\0\0\0\0\0\0\xff\xff", None);
}

#[test]
fn a_null_marker_that_data_can_look_like_is_no_oracle() {
    check(&text(b'\t', "721-07-4426", false), 1, b"721-07-4426\n", Some(b"*, \"\\\\\\t\\n'*\n"));
    check(&text(b'\t', "", false), 1, b"\n", Some(b"\n"));
    check(&csv([b',', b'"', b'"'], "721", vec![false]), 1, b"721\n\"721\"\n", Some(b"721\n\"*, \"\"\\\t\n'*\"\n"));
    assert!(Text::new(b'\t', b"a\\".to_vec(), false).is_none());
}
