//! Real models against values that others computed: logits, log-probabilities, hidden states, gradients and greedy text.
//!
//! The golden files' own `tolerance` fields say how close an f64 and an f32 implementation must come.

mod shared;

use engine::{Backend, Cpu, Device, Tensor};
use model::batch::Batch;
use model::boundary::Sequence;
use model::decoder::{Decoder, ForwardOptions, Packed};
use model::generate::{Sampling, StopConditions, generate};
use model::model_folder::ModelFolder;
use serde_json::Value;
use shared::{ARCHITECTURES, json, numbers, shared, tokens};
use std::path::Path;

fn decoder<B: Backend>(backend: &B, folder: &Path) -> Decoder<B> {
    let model = ModelFolder::open(folder).unwrap();
    Decoder::from_tensors(backend, &model.config, model.tensors.clone()).unwrap()
}

#[track_caller]
fn close(what: &str, ours: &[f64], theirs: &[f64], tolerance: f64) {
    assert_eq!(ours.len(), theirs.len(), "{what}: length");
    for (i, (a, b)) in ours.iter().zip(theirs).enumerate() {
        assert!((a - b).abs() <= tolerance + ROUNDED * b.abs(), "{what}[{i}]: {a} against {b}, further apart than {tolerance:e}");
    }
}

/// Golden numbers are rounded to nine significant digits: each is known to this fraction of itself.
const ROUNDED: f64 = 5e-9;

/// Forward pass of every case of one golden file.
fn forward<B: Backend>(backend: &B, folder: &Path, golden: &Value, tolerance: f64) {
    let decoder = decoder(backend, folder);
    for case in golden["cases"].as_array().unwrap() {
        let tokens = tokens(&case["tokens"]);
        let batch = Packed::new([tokens.as_slice()]);
        let logits = decoder.logits(&batch);
        let last = logits.slice(0, tokens.len() - 1, tokens.len()).to_f64();
        close("logits_last", &last, &numbers(&case["logits_last"]), tolerance);
        if tokens.len() > 1 {
            let sequence = Sequence::new(tokens.clone(), 1);
            let log_probs = Batch::of_sequences([&sequence]).token_log_probs(&decoder, &ForwardOptions::default());
            close("next_token_logprob", &log_probs.to_f64(), &numbers(&case["next_token_logprob"]), tolerance);
        }
        let stream = decoder.residual_stream(&batch);
        for (ours, theirs) in stream.iter().zip(case["residual_stream"].as_array().into_iter().flatten()) {
            let norm = ours.to_f64().iter().map(|x| x * x).sum::<f64>().sqrt();
            let expected = theirs["l2_all_positions"].as_f64().unwrap();
            assert!((norm - expected).abs() <= (tolerance + 1e-8) * expected.max(1.0), "{}: {norm} against {expected}", theirs["after"]);
        }
    }
}

/// Greedy continuations, token by token.
fn greedy<B: Backend>(backend: &B, folder: &Path, golden: &Value) {
    let decoder = decoder(backend, folder);
    for case in golden["greedy"].as_array().unwrap() {
        let prompt = tokens(&case["prompt_tokens"]);
        let expected = tokens(&case["new_tokens"]);
        let limits = StopConditions { max_tokens: expected.len(), stop: &[] };
        let new = generate(&decoder, &[prompt], &Sampling::GREEDY, limits, &engine::Generator::new(0), |_, _| true).unwrap();
        assert_eq!(new[0], expected, "{folder:?}");
    }
}

const TRAINED: [&str; 3] = ["stories260k", "glassllm-en", "gpt-nano-sort"];

#[test]
fn trained_models_give_the_golden_logits_log_probs_and_hidden_states() {
    for name in TRAINED {
        let Some(folder) = shared(&format!("data/{name}")) else { return };
        let golden = json(&folder.join("golden_forward.json"));
        forward(&Cpu::<f64>::new(), &folder.join("hf"), &golden, 1e-9);
        forward(&Device::default(), &folder.join("hf"), &golden, 1e-4);
    }
}

#[test]
fn every_architecture_gives_the_golden_logits_and_log_probs() {
    for name in ARCHITECTURES {
        let Some(folder) = shared(&format!("data/tiny-random/{name}")) else { return };
        let golden = json(&folder.join("golden_forward.json"));
        forward(&Cpu::<f64>::new(), &folder, &golden, 1e-6);
        forward(&Device::default(), &folder, &golden, 1e-3);
    }
}

#[test]
fn greedy_tokens_are_the_golden_ones() {
    for (name, folder) in TRAINED.iter().map(|n| (*n, "hf")).chain(ARCHITECTURES.iter().map(|n| (*n, ""))) {
        let group = if folder.is_empty() { "data/tiny-random/" } else { "data/" };
        let Some(path) = shared(&format!("{group}{name}")) else { return };
        greedy(&Device::default(), &path.join(folder), &json(&path.join("golden_forward.json")));
    }
}

/// Our parameters that a golden name stands for: Meta's and minGPT's names.
fn our_names(golden: &str) -> Vec<String> {
    let outer = [
        ("tok_embeddings.weight", "model.embed_tokens.weight"),
        ("norm.weight", "model.norm.weight"),
        ("output.weight", "lm_head.weight"),
        ("wte.weight", "model.embed_tokens.weight"),
        ("wpe.weight", "model.embed_positions.weight"),
        ("ln_f.weight", "model.norm.weight"),
        ("ln_f.bias", "model.norm.bias"),
        ("lm_head.weight", "lm_head.weight"),
    ];
    if let Some((_, ours)) = outer.iter().find(|(theirs, _)| *theirs == golden) {
        return vec![(*ours).to_owned()];
    }
    let (layer, rest) = golden.split_once('.').unwrap().1.split_once('.').unwrap();
    let (part, kind) = rest.rsplit_once('.').unwrap();
    let ours: &[&str] = match part {
        "attention.wq" => &["self_attn.q_proj"],
        "attention.wk" => &["self_attn.k_proj"],
        "attention.wv" => &["self_attn.v_proj"],
        "attention.wo" | "attn.c_proj" => &["self_attn.o_proj"],
        "attn.c_attn" => &["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"],
        "attention_norm" | "ln_1" => &["input_layernorm"],
        "ffn_norm" | "ln_2" => &["post_attention_layernorm"],
        "feed_forward.w1" => &["mlp.gate_proj"],
        "feed_forward.w2" | "mlp.c_proj" => &["mlp.down_proj"],
        "feed_forward.w3" | "mlp.c_fc" => &["mlp.up_proj"],
        other => panic!("no parameter is called {other}"),
    };
    ours.iter().map(|ours| format!("model.layers.{layer}.{ours}.{kind}")).collect()
}

/// Compares every gradient's norm, sum and largest element, which do not depend on the layout.
fn gradients_agree<B: Backend>(decoder: &Decoder<B>, loss: Tensor<B>, golden: &Value, tolerance: f64) {
    let gradients = loss.backward();
    let mut squares = 0.0;
    for (name, expected) in golden["grads"].as_object().unwrap() {
        let names = our_names(name);
        let parameters = decoder.parameters();
        let values: Vec<f64> = names
            .iter()
            .flat_map(|name| {
                let parameter = parameters.iter().find(|p| p.name == *name).unwrap_or_else(|| panic!("no parameter {name}"));
                gradients.of(&parameter.tensor).to_f64()
            })
            .collect();
        let norm = values.iter().map(|g| g * g).sum::<f64>().sqrt();
        let largest = values.iter().fold(0.0f64, |a, g| a.max(g.abs()));
        let of = |key: &str| expected[key].as_f64().unwrap();
        assert!((norm - of("l2")).abs() <= tolerance * of("l2"), "{name}: norm {norm} against {}", of("l2"));
        assert!((largest - of("max_abs")).abs() <= tolerance * of("l2"), "{name}: largest {largest} against {}", of("max_abs"));
        let sum: f64 = values.iter().sum();
        assert!((sum - of("sum")).abs() <= tolerance * of("l2") * (values.len() as f64).sqrt(), "{name}: sum {sum} against {}", of("sum"));
        squares += norm * norm;
    }
    let expected = golden["global_grad_l2"].as_f64().unwrap();
    assert!((squares.sqrt() - expected).abs() <= tolerance * expected, "global norm {} against {expected}", squares.sqrt());
}

fn gradient<B: Backend>(backend: &B, folder: &Path, golden: &Value, loss_tolerance: f64, tolerance: f64) {
    let decoder = decoder(backend, folder);
    let sequence = Sequence::new(tokens(&golden["tokens"]), 1);
    let loss = Batch::of_sequences([&sequence]).token_log_probs(&decoder, &ForwardOptions::default()).mean_all().neg();
    close("loss", &[loss.item()], &[golden["loss"].as_f64().unwrap()], loss_tolerance);
    gradients_agree(&decoder, loss, golden, tolerance);
}

#[test]
fn trained_models_have_the_golden_gradients() {
    for name in TRAINED {
        let Some(folder) = shared(&format!("data/{name}")) else { return };
        let golden = json(&folder.join("golden_grad.json"));
        gradient(&Cpu::<f64>::new(), &folder.join("hf"), &golden, 1e-9, 1e-8);
        gradient(&Device::default(), &folder.join("hf"), &golden, 1e-5, 1e-3);
    }
}

#[test]
fn stories260k_reads_real_stories_as_well_as_its_golden_values_say() {
    let Some(folder) = shared("data/stories260k") else { return };
    let golden = json(&folder.join("golden_tinystories_nll.json"));
    let text = std::fs::read_to_string(folder.join("tinystories_sample.txt")).unwrap();
    let out = tempfile::tempdir().unwrap();
    model::convert::convert(&folder.join("stories260K.bin"), Some(&folder.join("tok512.bin")), out.path()).unwrap();
    let model = ModelFolder::open(out.path()).unwrap();
    let decoder = Decoder::from_tensors(&Cpu::<f64>::new(), &model.config, model.tensors.clone()).unwrap();
    for (story, expected) in text.split("<|endoftext|>").zip(golden["stories"].as_array().unwrap()) {
        let mut tokens = vec![model.tokenizer.bos().unwrap()];
        tokens.extend(model.tokenizer.encode(story.trim()).unwrap());
        tokens.truncate(512);
        let sequence = Sequence::new(tokens, 1);
        let total = Batch::of_sequences([&sequence]).sequence_log_probs(&decoder, &ForwardOptions::default());
        close("sum_logprob", &total.to_f64(), &[expected["sum_logprob"].as_f64().unwrap()], 1e-8);
    }
}
