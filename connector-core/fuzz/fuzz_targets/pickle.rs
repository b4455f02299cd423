#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| connector_core::__fuzzing::pickle(bytes));
