//! Fuzz target `backend`; see `countersign_fuzz::backend`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| countersign_fuzz::backend::run(data));
