//! `slpo devices` and `--device`, as they answer on the machine that runs the tests.

use crate::command::{Workplace, failure, object, slpo, text};

/// True if CUDA can be used here, as the binary reports.
fn usable() -> bool {
    object(&slpo("devices --json", &[]))["cuda"]["usable"].as_bool().unwrap()
}

#[test]
fn the_processor_is_listed_and_cuda_has_devices_or_a_reason() {
    let found = object(&slpo("devices --json", &[]));
    assert!(found["cpu"]["threads"].as_u64().unwrap() > 0 && found["cpu"]["simd"].is_string());
    let cuda = &found["cuda"];
    assert_eq!(cuda["usable"].as_bool().unwrap(), cuda["reason"].is_null());
    assert!(!usable() || !cuda["devices"].as_array().unwrap().is_empty());
    let lines = text(&slpo("devices", &[]));
    assert!(lines.starts_with("cpu   ") && lines.contains("cuda  "), "{lines}");
}

#[test]
fn without_cuda_asking_for_it_is_one_message_and_auto_takes_the_processor() {
    if usable() {
        println!("skipped: CUDA can be used here");
        return;
    }
    let message = failure(&slpo("bench step --preset nano --steps 1 --device cuda", &[]), 1);
    assert!(message.starts_with("error: CUDA: ") && message.trim_end().lines().count() == 1, "{message}");
    let step = object(&slpo("bench step --preset nano --steps 1 --device auto --json", &[]));
    assert_eq!(step["device"], "cpu");
}

#[test]
fn bf16_trains_where_the_processor_can_and_is_refused_where_it_cannot() {
    let workplace = Workplace::new();
    let train = |out: &str, rest: &str| {
        let size = "--steps 4 --batch-rows 2 --batch-tokens 32 --warmup 1";
        workplace.run(&format!("train --data {{}}/text.txt --out {{}}/{out} {size} --precision {rest}"))
    };
    let message = failure(&train("tf32", "tf32"), 2);
    assert!(message.contains("--precision") && message.contains("tf32"), "{message}");
    if object(&slpo("devices --json", &[]))["cpu"]["bf16"].is_null() {
        let message = failure(&train("bf16", "bf16"), 2);
        return assert!(message.contains("AVX512-BF16"), "{message}");
    }
    let weights = |out: &str| std::fs::read(workplace.path(out).join("model.safetensors")).unwrap();
    for (out, rest) in [("f32", "f32"), ("one", "bf16 --threads 1"), ("two", "bf16 --threads 2")] {
        text(&train(out, rest));
    }
    assert!(weights("one") == weights("two"), "the number of threads changes nothing");
    assert!(weights("one") != weights("f32"), "bf16 rounds");
}
