//! Fuzz target `row`; see `countersign_fuzz::row`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| countersign_fuzz::row::run(data));
