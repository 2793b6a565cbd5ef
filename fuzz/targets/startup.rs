//! Fuzz target `startup`; see `countersign_fuzz::startup`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| countersign_fuzz::startup::run(data));
