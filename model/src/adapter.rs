//! LoRA adapters as peft keeps them: a folder with `adapter_config.json` and `adapter_model.safetensors`.

use crate::atomic::{atomic_write, make_folder};
use crate::decoder::{Decoder, LoraSettings};
use crate::error::{Error, Result};
use crate::safetensors_file::{self, NamedTensors};
use engine::Backend;
use serde_json::{Map, Value, json};
use std::path::Path;

/// The settings' file in an adapter's folder.
pub const SETTINGS_FILE: &str = "adapter_config.json";
/// The parameters' file in an adapter's folder.
pub const WEIGHTS_FILE: &str = "adapter_model.safetensors";
/// What peft puts before a module's name.
const PREFIX: &str = "base_model.model.";

/// Settings of peft that change what is computed and that are not known here; each must be absent or have its neutral value.
const NEUTRAL: [(&str, &[Value]); 9] = [
    ("use_dora", &[Value::Bool(false)]),
    ("use_qalora", &[Value::Bool(false)]),
    ("use_bdlora", &[Value::Bool(false)]),
    ("lora_bias", &[Value::Bool(false)]),
    ("modules_to_save", &[]),
    ("layer_replication", &[]),
    ("trainable_token_indices", &[]),
    ("target_parameters", &[]),
    ("alora_invocation_tokens", &[]),
];

/// Writes a decoder's adapter into a folder that peft loads. Each file is replaced in one step, the parameters last.
///
/// # Errors
/// [`Error::BadConfig`] where the decoder has no adapter; [`Error::Io`], [`Error::NonFinite`].
pub fn save<B: Backend>(folder: &Path, decoder: &Decoder<B>) -> Result<()> {
    let settings = decoder.adapter().ok_or_else(|| Error::bad_config("the model has no adapter to save"))?;
    make_folder(folder)?;
    let fan_in_fan_out = decoder.config().architecture == crate::config::Architecture::Gpt2;
    let text = format!("{:#}\n", to_json(settings, fan_in_fan_out));
    atomic_write(&folder.join(SETTINGS_FILE), text.as_bytes())?;
    let tensors: NamedTensors = decoder.adapter_tensors().into_iter().map(|(name, tensor)| (format!("{PREFIX}{name}"), tensor)).collect();
    safetensors_file::write(&folder.join(WEIGHTS_FILE), &tensors)
}

/// Puts the adapter of a folder onto a decoder.
///
/// # Errors
/// [`Error::Io`], [`Error::Json`], [`Error::BadConfig`], [`Error::Unsupported`] naming the setting, those of [`safetensors_file::read`], and
/// [`Error::BadFile`] where the adapter's parameters do not fit the decoder.
pub fn load<B: Backend>(folder: &Path, decoder: &Decoder<B>) -> Result<Decoder<B>> {
    let path = folder.join(SETTINGS_FILE);
    let text = crate::files::read(&path, crate::files::SETTINGS)?;
    let value: Value = serde_json::from_slice(&text).map_err(Error::json(&path))?;
    let settings = from_json(&value).map_err(|error| error.at(&path))?;
    let weights = folder.join(WEIGHTS_FILE);
    let tensors = safetensors_file::read(&weights)?;
    let tensors: NamedTensors =
        tensors.into_iter().map(|(name, tensor)| (name.strip_prefix(PREFIX).map_or(name.clone(), str::to_owned), tensor)).collect();
    // peft also takes a pattern, or all-linear, for its targets: the parameters say which modules are meant.
    let settings = LoraSettings { targets: targets(&tensors), ..settings };
    decoder.with_adapter_tensors(&settings, tensors).map_err(|error| Error::bad_file(&weights, error.to_string()))
}

/// Reads the contents of an `adapter_config.json`. The targets are left empty: the parameters' names say which there are.
///
/// # Errors
/// [`Error::BadConfig`]; [`Error::Unsupported`] for another kind of adapter than LoRA, and for settings that change what it computes.
pub fn from_json(value: &Value) -> Result<LoraSettings> {
    let map = value.as_object().ok_or_else(|| Error::bad_config("must hold one JSON object"))?;
    let unsupported = |key: &str, supported: &str| Error::Unsupported {
        path: None,
        what: format!("{key} {}", map.get(key).unwrap_or(&Value::Null)),
        supported: supported.to_owned(),
    };
    if map.get("peft_type").and_then(Value::as_str) != Some("LORA") {
        return Err(unsupported("peft_type", "LORA"));
    }
    for (key, neutral) in NEUTRAL {
        if map.get(key).is_some_and(|value| !value.is_null() && !neutral.contains(value)) {
            return Err(unsupported(key, "none"));
        }
    }
    if map.get("bias").is_some_and(|bias| bias != "none") {
        return Err(unsupported("bias", "none"));
    }
    for key in ["rank_pattern", "alpha_pattern"] {
        if map.get(key).and_then(Value::as_object).is_some_and(|pattern| !pattern.is_empty()) {
            return Err(unsupported(key, "one rank and one alpha for all modules"));
        }
    }
    let missing = |key: &str| Error::bad_config(format!("{key} is missing, or not a number in its range"));
    Ok(LoraSettings {
        rank: map.get("r").and_then(Value::as_u64).and_then(|rank| usize::try_from(rank).ok()).ok_or_else(|| missing("r"))?,
        alpha: map.get("lora_alpha").and_then(Value::as_f64).ok_or_else(|| missing("lora_alpha"))?,
        rank_stabilised: map.get("use_rslora").and_then(Value::as_bool).unwrap_or(false),
        targets: Vec::new(),
        base: map.get("base_model_name_or_path").and_then(Value::as_str).unwrap_or_default().to_owned(),
    })
}

fn to_json(settings: &LoraSettings, fan_in_fan_out: bool) -> Value {
    let alpha = if settings.alpha.fract() == 0.0 { json!(settings.alpha as i64) } else { json!(settings.alpha) };
    let pairs = [
        ("peft_type", json!("LORA")),
        ("task_type", json!("CAUSAL_LM")),
        ("base_model_name_or_path", json!(settings.base)),
        ("r", json!(settings.rank)),
        ("lora_alpha", alpha),
        ("use_rslora", json!(settings.rank_stabilised)),
        ("target_modules", json!(settings.targets)),
        ("lora_dropout", json!(0.0)),
        ("bias", json!("none")),
        ("fan_in_fan_out", json!(fan_in_fan_out)),
        ("inference_mode", json!(true)),
    ];
    Value::Object(pairs.map(|(key, value)| (key.to_owned(), value)).into_iter().collect::<Map<_, _>>())
}

/// The modules that have parameters, as `attn.c_proj` or `q_proj`: the last part of the name, with the one before where that is needed to
/// tell GPT-2's two `c_proj` apart.
fn targets(tensors: &NamedTensors) -> Vec<String> {
    let mut targets: Vec<String> = Vec::new();
    for name in tensors.keys() {
        let Some(path) = name.strip_suffix(".lora_A.weight") else { continue };
        let mut parts = path.rsplit('.');
        let (last, before) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        let target = if last == "c_proj" { format!("{before}.{last}") } else { last.to_owned() };
        if !targets.contains(&target) {
            targets.push(target);
        }
    }
    targets.sort();
    targets
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decoder::{Packed, usual_targets};
    use crate::model_folder::ModelFolder;
    use crate::safetensors_file::NamedTensor;
    use crate::test_data::shared;
    use engine::Cpu;

    const FOLDERS: [&str; 5] = ["gpt2", "gptneox-parallel-partial-rotary", "llama-gqa-untied", "qwen2-qkv-bias", "qwen3-qk-norm"];

    fn base(name: &str) -> Option<Decoder<Cpu<f64>>> {
        let model = ModelFolder::open(&shared(&format!("data/tiny-random/{name}"))?).unwrap();
        Some(Decoder::from_tensors(&Cpu::new(), &model.config, model.tensors.clone()).unwrap())
    }

    fn settings(decoder: &Decoder<Cpu<f64>>, targets: &[&str]) -> LoraSettings {
        let named = targets.iter().map(|target| (*target).to_owned()).collect();
        let targets = if targets.is_empty() { usual_targets(decoder.config()) } else { named };
        LoraSettings { rank: 3, alpha: 6.0, rank_stabilised: false, targets, base: "base".to_owned() }
    }

    /// An adapter with B off zero, as after training.
    fn adapted(decoder: &Decoder<Cpu<f64>>, targets: &[&str]) -> Decoder<Cpu<f64>> {
        let new = decoder.with_new_adapter(&settings(decoder, targets), 5).unwrap();
        let mut generator = engine::Generator::new(8);
        new.with_trained(&mut |_, shape| {
            let data: Vec<f64> = (0..shape.iter().product()).map(|_| f64::from((0.2 * generator.normal()) as f32)).collect();
            Ok(engine::Tensor::parameter(&Cpu::new(), &data, shape))
        })
        .unwrap()
    }

    fn logits(decoder: &Decoder<Cpu<f64>>) -> Vec<f64> {
        decoder.logits(&Packed::new([&[3, 1, 4, 1, 5, 9, 2, 6][..]])).to_f64()
    }

    #[track_caller]
    fn apart(a: &[f64], b: &[f64]) -> f64 {
        assert_eq!(a.len(), b.len());
        a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
    }

    #[test]
    fn a_new_adapter_changes_nothing_and_alone_is_trained() {
        for name in FOLDERS {
            let Some(base) = base(name) else { return };
            let new = base.with_new_adapter(&settings(&base, &[]), 1).unwrap();
            assert_eq!(logits(&new), logits(&base), "{name}");
            assert!(new.parameters().iter().all(|p| p.name.contains(".lora_")), "{name}");
            let (rank, width) = (3, base.config().hidden_size);
            assert!(new.parameter_count() >= base.config().layers * rank * width && new.parameter_count() < base.parameter_count() / 4);
            let gradients = new.logits(&Packed::new([&[3, 1, 4][..]])).sum_all().backward();
            let moved = new.parameters().iter().filter(|p| gradients.get(&p.tensor).is_some()).count();
            assert_eq!(moved, new.parameters().len(), "{name}");
        }
    }

    #[test]
    fn merged_weights_compute_what_the_adapter_does_and_without_it_the_base_is_back() {
        let everything: [&[&str]; 5] = [
            &["c_attn", "c_proj", "c_fc"],
            &["query_key_value", "dense", "dense_h_to_4h", "dense_4h_to_h"],
            &["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"],
            &["self_attn.k_proj"],
            &["v_proj", "down_proj"],
        ];
        for (name, targets) in FOLDERS.into_iter().zip(everything) {
            let Some(base) = base(name) else { return };
            let adapted = adapted(&base, targets);
            let changed = logits(&adapted);
            assert!(apart(&changed, &logits(&base)) > 1e-3, "{name}: it does something");
            // f64 sums in another order.
            assert!(apart(&logits(&adapted.merged()), &changed) < 1e-11, "{name}");
            assert_eq!(logits(&adapted.without_adapter()), logits(&base), "{name}");
            assert!(adapted.merged().adapter().is_none() && adapted.merged().parameter_count() == base.parameter_count());
        }
    }

    #[test]
    fn an_adapter_is_the_same_after_being_saved_and_loaded() {
        for name in FOLDERS {
            let Some(base) = base(name) else { return };
            let adapted = adapted(&base, &[]);
            let folder = tempfile::tempdir().unwrap();
            save(folder.path(), &adapted).unwrap();
            let again = load(folder.path(), &base).unwrap();
            assert_eq!(logits(&again), logits(&adapted), "{name}");
            assert_eq!(again.adapter().unwrap().targets, adapted.adapter().unwrap().targets, "{name}");
        }
    }

    #[test]
    fn the_names_are_peft_s() {
        let Some(base) = base("llama-gqa-untied") else { return };
        let folder = tempfile::tempdir().unwrap();
        save(folder.path(), &adapted(&base, &["v_proj"])).unwrap();
        let tensors = safetensors_file::read(&folder.path().join(WEIGHTS_FILE)).unwrap();
        assert_eq!(tensors["base_model.model.model.layers.0.self_attn.v_proj.lora_A.weight"].shape, [3, 32]);
        assert_eq!(tensors["base_model.model.model.layers.0.self_attn.v_proj.lora_B.weight"].shape, [16, 3]);
    }

    #[test]
    fn what_does_not_fit_is_one_message() {
        let Some(base) = base("llama-gqa-untied") else { return };
        let refused = |targets: &[&str]| base.with_new_adapter(&settings(&base, targets), 1).err().unwrap().to_string();
        assert!(refused(&["c_attn"]).contains("the target \"c_attn\" is not supported; supported: q_proj, k_proj"));
        let none = LoraSettings { rank: 0, ..settings(&base, &[]) };
        assert!(base.with_new_adapter(&none, 1).err().unwrap().to_string().contains("from 1 to"));
        let folder = tempfile::tempdir().unwrap();
        save(folder.path(), &adapted(&base, &[])).unwrap();
        let path = folder.path().join(WEIGHTS_FILE);
        let mut tensors = safetensors_file::read(&path).unwrap();
        let whole = tensors.clone();
        tensors.swap_remove("base_model.model.model.layers.0.self_attn.v_proj.lora_B.weight");
        safetensors_file::write(&path, &tensors).unwrap();
        let message = |base| load(folder.path(), base).err().unwrap().to_string();
        assert!(message(&base).contains("adapter_model.safetensors") && message(&base).contains("lora_B.weight is missing"));
        tensors = whole;
        tensors.insert("base_model.model.lm_head.lora_A.weight".to_owned(), NamedTensor::new(vec![1], vec![0.0]));
        safetensors_file::write(&path, &tensors).unwrap();
        assert!(message(&base).contains("for no module of this model") || message(&base).contains("not supported"));
    }

    #[test]
    fn settings_that_change_the_computation_are_refused_and_others_passed_over() {
        let with = |key: &str, value: Value| {
            let mut config = json!({"peft_type": "LORA", "r": 4, "lora_alpha": 8, "lora_dropout": 0.1, "init_lora_weights": true});
            config[key] = value;
            from_json(&config)
        };
        assert_eq!(with("use_rslora", json!(true)).unwrap().scale(), 4.0);
        assert_eq!(with("use_rslora", json!(null)).unwrap().scale(), 2.0);
        for (key, value) in [
            ("peft_type", json!("IA3")),
            ("use_dora", json!(true)),
            ("bias", json!("all")),
            ("rank_pattern", json!({"q_proj": 2})),
            ("modules_to_save", json!(["lm_head"])),
        ] {
            assert!(with(key, value).unwrap_err().to_string().contains(key));
        }
        assert!(with("r", json!("many")).unwrap_err().to_string().contains("r is missing"));
    }
}
