//! Fuzz target `frontend`; see `countersign_fuzz::frontend`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| countersign_fuzz::frontend::run(data));
