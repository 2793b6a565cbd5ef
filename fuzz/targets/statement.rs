//! Fuzz target `statement`; see `countersign_fuzz::statement`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| countersign_fuzz::statement::run(data));
