#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| slpo_fuzz::targets::generation_config::fuzz(data));
