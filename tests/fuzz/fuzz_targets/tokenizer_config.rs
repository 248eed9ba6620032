#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| slpo_fuzz::targets::tokenizer_config::fuzz(data));
