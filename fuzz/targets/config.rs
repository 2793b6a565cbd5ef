//! Fuzz target `config`; see `countersign_fuzz::config`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| countersign_fuzz::config::run(data));
