//! Fuzz target. The input and the checked property are those of [`mqtt_fuzz::store`].
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| mqtt_fuzz::store(input));
