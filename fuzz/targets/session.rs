//! Fuzz target `session`; see `countersign_fuzz::session`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| countersign_fuzz::session::run(data));
