//! DPO on stories260k against values computed with JAX in f64: log-probabilities, loss, gradient, and whole training trajectories.

mod shared;

use engine::{Backend, Cpu, Device};
use losses::{Hyperparameters, Loss, PairInputs, pairwise};
use model::boundary::Sequence;
use model::data::PreferencePair;
use model::decoder::{Decoder, ForwardOptions};
use model::model_folder::ModelFolder;
use model::optimizer::{Rule, Schedule};
use model::preference::{PairBatch, Scored};
use model::train::Trainer;
use serde_json::Value;
use shared::{json, numbers, shared, tokens};

fn pairs(golden: &Value) -> Vec<PreferencePair> {
    let sequence = |pair: &Value, key: &str| {
        let prompt = tokens(&pair["prompt_tokens"]);
        Sequence::new([prompt.clone(), tokens(&pair[key])].concat(), prompt.len())
    };
    let of = |pair: &Value| PreferencePair {
        line: pair["source_row"].as_u64().unwrap() as usize + 1,
        chosen: sequence(pair, "chosen_tokens"),
        rejected: sequence(pair, "rejected_tokens"),
    };
    golden["pairs"].as_array().unwrap().iter().map(of).collect()
}

fn decoder<B: Backend>(backend: &B, model: &ModelFolder) -> Decoder<B> {
    Decoder::from_tensors(backend, &model.config, model.tensors.clone()).unwrap()
}

#[track_caller]
fn close(what: &str, ours: f64, theirs: f64, tolerance: f64) {
    assert!((ours - theirs).abs() <= tolerance, "{what}: {ours} against {theirs}, further apart than {tolerance:e}");
}

/// Runs one golden trajectory. `first` and `later` are the tolerances of the first and of later losses, `log_prob` that of a
/// log-probability.
fn trajectory<B: Backend>(backend: &B, model: &ModelFolder, golden: &Value, trajectory: &Value, [first, later, log_prob, norm]: [f64; 4]) {
    let reference = decoder(backend, model);
    let pairs = pairs(golden);
    let batch = PairBatch::new(&pairs);
    let rule = match trajectory["optimizer"].as_str().unwrap() {
        "sgd" => Rule::Sgd { momentum: 0.0 },
        _ => adamw(trajectory),
    };
    let learning_rate = trajectory["lr"].as_f64().unwrap();
    let schedule = Schedule { learning_rate, warmup: 0, steps: 1000, final_fraction: 1.0 };
    let mut trainer = Trainer::new(reference.clone(), rule, schedule, f64::INFINITY);
    let seen = Scored::reference(&batch, &reference);
    let (reference_chosen, reference_rejected) = seen.sequence_log_probs();
    for expected in trajectory["steps"].as_array().unwrap() {
        let step = expected["step"].as_u64().unwrap();
        let mut log_probs = (Vec::new(), Vec::new());
        let outcome = trainer
            .step(1, |decoder, _| {
                let policy = Scored::policy(&batch, decoder, &ForwardOptions::default());
                let (chosen, rejected) = policy.sequence_log_probs();
                log_probs = (chosen.to_f64(), rejected.to_f64());
                let inputs = PairInputs::new(&chosen, &rejected, &reference_chosen, &reference_rejected).unwrap();
                let losses = pairwise(Loss::Dpo, &Hyperparameters::default(), &inputs).unwrap();
                Ok((losses.sum_all(), pairs.len() as f64))
            })
            .unwrap();
        let tolerance = if step == 1 { first } else { later };
        close("loss", outcome.loss, expected["loss_before_update"].as_f64().unwrap(), tolerance);
        let expected_norm = expected["grad_l2"].as_f64().unwrap();
        close("gradient norm", outcome.gradient_norm, expected_norm, norm * expected_norm);
        for (i, theirs) in expected["policy_logps"].as_array().unwrap().iter().map(numbers).enumerate() {
            let scale = if step == 1 { 1.0 } else { later / first };
            close("chosen log-prob", log_probs.0[i], theirs[0], log_prob * scale * theirs[0].abs());
            close("rejected log-prob", log_probs.1[i], theirs[1], log_prob * scale * theirs[1].abs());
        }
    }
}

fn adamw(trajectory: &Value) -> Rule {
    let of = |key: &str| trajectory[key].as_f64().unwrap();
    let weight_decay = of("weight_decay_decoupled_all_tensors");
    Rule::Adamw { beta1: of("beta1"), beta2: of("beta2"), epsilon: of("eps"), weight_decay, decay_vectors: true }
}

#[test]
fn dpo_follows_the_golden_trajectories() {
    let Some(folder) = shared("data/stories260k") else { return };
    let golden = json(&folder.join("golden_dpo.json"));
    let model = ModelFolder::open(&folder.join("hf")).unwrap();
    for expected in golden["trajectories"].as_array().unwrap() {
        trajectory(&Cpu::<f64>::new(), &model, &golden, expected, [1e-9, 1e-8, 1e-11, 1e-8]);
        trajectory(&Device::default(), &model, &golden, expected, [1e-5, 1e-3, 1e-5, 1e-3]);
    }
}

#[test]
fn policy_equal_to_reference_gives_ln_2_and_the_golden_gradient() {
    let Some(folder) = shared("data/stories260k") else { return };
    let golden = json(&folder.join("golden_dpo.json"));
    let model = ModelFolder::open(&folder.join("hf")).unwrap();
    let decoder = decoder(&Cpu::<f64>::new(), &model);
    let pairs = pairs(&golden);
    let batch = PairBatch::new(&pairs);
    let policy = Scored::policy(&batch, &decoder, &ForwardOptions::default());
    let reference = Scored::reference(&batch, &decoder);
    let ((chosen, rejected), (reference_chosen, reference_rejected)) = (policy.sequence_log_probs(), reference.sequence_log_probs());
    for (i, pair) in golden["pairs"].as_array().unwrap().iter().enumerate() {
        close("chosen", chosen.to_f64()[i], pair["policy_logp_chosen"].as_f64().unwrap(), 1e-9);
        close("rejected", rejected.to_f64()[i], pair["policy_logp_rejected"].as_f64().unwrap(), 1e-9);
    }
    let inputs = PairInputs::new(&chosen, &rejected, &reference_chosen, &reference_rejected).unwrap();
    let loss = pairwise(Loss::Dpo, &Hyperparameters::default(), &inputs).unwrap().mean_all();
    close("loss", loss.item(), golden["mean_loss"].as_f64().unwrap(), 1e-12);
    let gradients = loss.backward();
    let embedding = decoder.parameters()[0];
    let norm = gradients.of(&embedding.tensor).to_f64().iter().map(|g| g * g).sum::<f64>().sqrt();
    close("embedding gradient", norm, golden["grads"]["tok_embeddings.weight"]["l2"].as_f64().unwrap(), 1e-8);
}
