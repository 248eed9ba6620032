#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| slpo_fuzz::targets::data_rows::fuzz(data));
