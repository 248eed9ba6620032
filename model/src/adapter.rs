//! LoRA adapters in peft's format: a folder with `adapter_config.json` and `adapter_model.safetensors`.

use crate::atomic::{atomic_write, make_folder};
use crate::decoder::{Decoder, LoraSettings, ModulePattern};
use crate::error::{Error, Result};
use crate::keys::{Keys, Known, Neutral, shown, unsupported};
use crate::model_folder::{self, ADAPTER_SETTINGS_FILE as SETTINGS_FILE, ADAPTER_WEIGHTS_FILE as WEIGHTS_FILE};
use crate::safetensors_file::{self, NamedTensors};
use engine::Backend;
use serde_json::{Map, Value, json};
use std::path::{Path, PathBuf};

/// The prefix that peft puts before a module's name.
const PREFIX: &str = "base_model.model.";

/// Keys of peft that this program knows and does not use.
const KNOWN: Known = Known {
    harmless: &[
        // What the adapter is and where it comes from.
        "task_type",
        "auto_mapping",
        "peft_version",
        "revision",
        "inference_mode",
        "unsloth_*",
        // The parameters' names say which modules have an adapter.
        "target_modules",
        "exclude_modules",
        "layers_to_transform",
        "layers_pattern",
        // peft derives it from the module's class.
        "fan_in_fan_out",
        // Training and its initialisation.
        "lora_dropout",
        "loftq_config",
        "eva_config",
        "corda_config",
        "lora_ga_config",
        "ensure_weight_tying",
        "merge_weights",
        // Settings of features that other keys switch on.
        "qalora_group_size",
        "megatron_core",
        "runtime_config",
    ],
    neutral: &[
        ("bias", &[Neutral::Text("none")]),
        ("use_dora", &[Neutral::Flag(false)]),
        ("use_qalora", &[Neutral::Flag(false)]),
        ("use_bdlora", &[Neutral::Flag(false)]),
        ("lora_bias", &[Neutral::Flag(false)]),
        ("modules_to_save", &[Neutral::Empty]),
        ("layer_replication", &[Neutral::Empty]),
        ("trainable_token_indices", &[Neutral::Empty]),
        ("target_parameters", &[Neutral::Empty]),
        ("alora_invocation_tokens", &[]),
        ("arrow_config", &[]),
        ("kasa_config", &[]),
        ("velora_config", &[]),
        ("monteclora_config", &[]),
        ("megatron_config", &[]),
        ("enable_lora", &[]),
    ],
};

/// Prefixes of `init_lora_weights` that leave the base unchanged.
const BASE_UNCHANGED: [&str; 4] = ["gaussian", "eva", "orthogonal", "mica"];

/// An adapter, as read from its folder.
#[derive(Debug, Clone)]
pub struct Adapter {
    /// Its size, its scale and its modules.
    pub settings: LoraSettings,
    /// A sentence about each thing in the folder that was not used, naming file and key.
    pub remarks: Vec<String>,
    tensors: NamedTensors,
    /// The file of the parameters, for messages.
    weights: PathBuf,
}

impl Adapter {
    /// Reads an adapter's folder.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Json`], [`Error::BadConfig`], [`Error::Unsupported`] naming the setting, [`Error::BadFile`] for a folder
    /// without an adapter, and those of [`safetensors_file::read`].
    pub fn open(folder: &Path) -> Result<Self> {
        model_folder::check_adapter(folder)?;
        let path = folder.join(SETTINGS_FILE);
        let text = crate::files::read(&path, crate::files::SETTINGS)?;
        let value: Value = serde_json::from_slice(&text).map_err(Error::json(&path))?;
        let (settings, remarks) = from_json_with_remarks(&value).map_err(|error| error.at(&path))?;
        let remarks = remarks.into_iter().map(|remark| format!("{}: {remark}", path.display())).collect();
        let weights = folder.join(WEIGHTS_FILE);
        let tensors = safetensors_file::read(&weights)?;
        let tensors: NamedTensors =
            tensors.into_iter().map(|(name, tensor)| (name.strip_prefix(PREFIX).map_or(name.clone(), str::to_owned), tensor)).collect();
        // In peft, the targets may also be a pattern or `all-linear`. The parameters' names say which modules are meant.
        let settings = LoraSettings { targets: targets(&tensors), ..settings };
        Ok(Self { settings, remarks, tensors, weights })
    }

    /// Puts the adapter onto the decoder.
    ///
    /// # Errors
    /// [`Error::BadFile`] where the adapter's parameters do not fit the decoder.
    pub fn onto<B: Backend>(self, decoder: &Decoder<B>) -> Result<Decoder<B>> {
        decoder.with_adapter_tensors(&self.settings, self.tensors).map_err(|error| Error::bad_file(&self.weights, error.to_string()))
    }

    /// Returns a remark if the adapter was trained on another folder of this machine than `model`.
    pub fn base_remark(&self, model: &Path) -> Option<String> {
        let base = Path::new(&self.settings.base).canonicalize().ok()?;
        let differs = model.canonicalize().is_ok_and(|model| model != base);
        let folder = self.weights.parent().unwrap_or(&self.weights).display();
        differs.then(|| format!("{folder}: the adapter was trained on {}, the model is {}", self.settings.base, model.display()))
    }
}

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
/// Those of [`Adapter::open`] and [`Adapter::onto`].
pub fn load<B: Backend>(folder: &Path, decoder: &Decoder<B>) -> Result<Decoder<B>> {
    Adapter::open(folder)?.onto(decoder)
}

/// Reads the contents of an `adapter_config.json`. The targets stay empty, because the parameters' names determine them.
///
/// # Errors
/// [`Error::BadConfig`]; [`Error::Unsupported`] for another kind of adapter than LoRA, and for settings that change what it computes.
pub fn from_json(value: &Value) -> Result<LoraSettings> {
    from_json_with_remarks(value).map(|(settings, _)| settings)
}

/// Like [`from_json`], and returns a sentence about each setting that was not used.
///
/// # Errors
/// As [`from_json`].
pub fn from_json_with_remarks(value: &Value) -> Result<(LoraSettings, Vec<String>)> {
    let map = value.as_object().ok_or_else(|| Error::bad_config("must hold one JSON object"))?;
    let (settings, account) = Keys::read(map, read_keys)?;
    Ok((settings, account.remarks()?))
}

fn read_keys(keys: &Keys) -> Result<LoraSettings> {
    keys.know(&KNOWN);
    match keys.text("peft_type")? {
        Some("LORA") => {}
        Some(other) => return Err(unsupported(format!("peft_type {other}"), "LORA")),
        None => return Err(keys.missing("peft_type")),
    }
    check_initialisation(keys)?;
    let patterns = |key: &str| keys.typed(key, "an object", Value::as_object).map(|found| found.into_iter().flatten());
    let number =
        |pattern: &str, found: Option<f64>| found.ok_or_else(|| Error::bad_config(format!("the value of {pattern:?} is no number")));
    let ranks = patterns("rank_pattern")?.map(|(pattern, rank)| {
        let rank = number(pattern, rank.as_u64().map(|rank| rank as f64))?;
        Ok((ModulePattern::new(pattern)?, rank as usize))
    });
    let alphas = patterns("alpha_pattern")?.map(|(pattern, alpha)| Ok((ModulePattern::new(pattern)?, number(pattern, alpha.as_f64())?)));
    Ok(LoraSettings {
        rank: keys.required_size("r")?,
        alpha: keys.number("lora_alpha")?.ok_or_else(|| keys.missing("lora_alpha"))?,
        ranks: ranks.collect::<Result<_>>()?,
        alphas: alphas.collect::<Result<_>>()?,
        rank_stabilised: keys.flag("use_rslora")?.unwrap_or(false),
        targets: Vec::new(),
        base: keys.text("base_model_name_or_path")?.unwrap_or_default().to_owned(),
    })
}

/// Refuses an adapter whose base is not the published model. PiSSA and similar methods subtract the adapter's first value from the base.
fn check_initialisation(keys: &Keys) -> Result<()> {
    let name = match keys.value("init_lora_weights") {
        None | Some(Value::Bool(_)) => return Ok(()),
        Some(Value::String(name)) => name,
        Some(other) => return Err(Error::bad_config(format!("init_lora_weights must be true, false or a name, not {}", shown(other)))),
    };
    let lower = name.to_lowercase();
    if BASE_UNCHANGED.iter().any(|unchanged| lower.starts_with(unchanged)) {
        return Ok(());
    }
    let supported = "adapters whose base is the model itself: save it again in peft with path_initial_model_for_weight_conversion, or merge it \
                     there with merge_and_unload and save the model";
    Err(unsupported(format!("init_lora_weights {name:?}, which changes the base when training begins,"), supported))
}

fn to_json(settings: &LoraSettings, fan_in_fan_out: bool) -> Value {
    let alpha = if settings.alpha.fract() == 0.0 { json!(settings.alpha as i64) } else { json!(settings.alpha) };
    let pairs = [
        ("peft_type", json!("LORA")),
        ("task_type", json!("CAUSAL_LM")),
        ("base_model_name_or_path", json!(settings.base)),
        ("r", json!(settings.rank)),
        ("lora_alpha", alpha),
        ("rank_pattern", patterns_json(&settings.ranks)),
        ("alpha_pattern", patterns_json(&settings.alphas)),
        ("use_rslora", json!(settings.rank_stabilised)),
        ("target_modules", json!(settings.targets)),
        ("lora_dropout", json!(0.0)),
        ("bias", json!("none")),
        ("fan_in_fan_out", json!(fan_in_fan_out)),
        ("inference_mode", json!(true)),
    ];
    Value::Object(pairs.map(|(key, value)| (key.to_owned(), value)).into_iter().collect::<Map<_, _>>())
}

fn patterns_json<T: Copy + Into<Value>>(patterns: &[(ModulePattern, T)]) -> Value {
    patterns.iter().map(|(pattern, value)| (pattern.text().to_owned(), (*value).into())).collect::<Map<_, _>>().into()
}

/// Lists the modules that have parameters, as `attn.c_proj` or `q_proj`. An entry is the last part of the name. GPT-2's two `c_proj` also
/// get the part before it, which tells them apart.
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
        LoraSettings { rank: 3, alpha: 6.0, rank_stabilised: false, targets, base: "base".to_owned(), ..LoraSettings::default() }
    }

    /// Returns a decoder with an adapter whose B is not zero, as after training.
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
            from_json_with_remarks(&config)
        };
        let scale = |value: Value| with("use_rslora", value).unwrap().0.scale_of("model.layers.0.mlp.up_proj");
        assert_eq!((scale(json!(true)), scale(json!(null))), (4.0, 2.0));
        for (key, value) in [
            ("peft_type", json!("IA3")),
            ("use_dora", json!(true)),
            ("bias", json!("all")),
            ("rank_pattern", json!({"q_.*": 2})),
            ("lora_bias", json!(true)),
            ("modules_to_save", json!(["lm_head"])),
            ("arrow_config", json!({"top_k": 3})),
        ] {
            let message = with(key, value).unwrap_err().to_string();
            assert!(message.contains(key) || message.contains("q_.*"), "{message}");
        }
        for name in ["pissa", "pissa_niter_16", "olora", "OLoRA", "loftq", "corda", "lora_ga", "something_new"] {
            let message = with("init_lora_weights", json!(name)).unwrap_err().to_string();
            assert!(message.contains(name) && message.contains("path_initial_model_for_weight_conversion"), "{message}");
        }
        for name in [json!(false), json!("gaussian"), json!("eva"), json!("orthogonal"), json!(null)] {
            assert_eq!(with("init_lora_weights", name).unwrap().1, Vec::<String>::new());
        }
        assert!(with("r", json!("many")).unwrap_err().to_string().contains("r must be a whole number"));
        let remarks = with("a_new_key", json!(3)).unwrap().1;
        assert!(remarks.len() == 1 && remarks[0].contains("a_new_key"), "{remarks:?}");
    }

    /// Every key that peft 0.21 writes for a plain adapter.
    #[test]
    fn an_adapter_as_peft_writes_it_has_no_remark() {
        let written = json!({
            "alora_invocation_tokens": null, "alpha_pattern": {}, "arrow_config": null, "auto_mapping": null,
            "base_model_name_or_path": "meta-llama/Llama-3.2-1B", "bias": "none", "corda_config": null, "ensure_weight_tying": false,
            "eva_config": null, "exclude_modules": null, "fan_in_fan_out": false, "inference_mode": true, "init_lora_weights": true,
            "kasa_config": null, "layer_replication": null, "layers_pattern": null, "layers_to_transform": null, "loftq_config": {},
            "lora_alpha": 16, "lora_bias": false, "lora_dropout": 0.05, "lora_ga_config": null, "megatron_config": null,
            "megatron_core": "megatron.core", "modules_to_save": null, "monteclora_config": null, "peft_type": "LORA",
            "peft_version": "0.21.2", "qalora_group_size": 16, "r": 8, "rank_pattern": {}, "revision": null,
            "target_modules": ["q_proj", "v_proj"], "target_parameters": null, "task_type": "CAUSAL_LM", "trainable_token_indices": null,
            "use_bdlora": null, "use_dora": false, "use_qalora": false, "use_rslora": false, "velora_config": null,
        });
        assert_eq!(from_json_with_remarks(&written).unwrap().1, Vec::<String>::new());
    }

    #[test]
    fn modules_may_have_ranks_and_alphas_of_their_own() {
        let Some(base) = base("llama-gqa-untied") else { return };
        let pattern = |text: &str| ModulePattern::new(text).unwrap();
        let ranks = vec![(pattern("^model.layers.1.self_attn.q_proj"), 2), (pattern("v_proj"), 5)];
        let settings = LoraSettings { ranks, alphas: vec![(pattern("self_attn.v_proj"), 20.0)], ..settings(&base, &[]) };
        let (q, v) = ("model.layers.1.self_attn.q_proj", "model.layers.0.self_attn.v_proj");
        assert_eq!((settings.rank_of(q), settings.rank_of("model.layers.0.self_attn.q_proj"), settings.rank_of(v)), (2, 3, 5));
        assert_eq!((settings.scale_of(q), settings.scale_of(v)), (3.0, 4.0));
        let mut generator = engine::Generator::new(8);
        let adapted = base.with_new_adapter(&settings, 5).unwrap();
        let adapted = adapted
            .with_trained(&mut |_, shape| {
                let data: Vec<f64> = (0..shape.iter().product()).map(|_| f64::from((0.2 * generator.normal()) as f32)).collect();
                Ok(engine::Tensor::parameter(&Cpu::new(), &data, shape))
            })
            .unwrap();
        let folder = tempfile::tempdir().unwrap();
        save(folder.path(), &adapted).unwrap();
        let tensors = safetensors_file::read(&folder.path().join(WEIGHTS_FILE)).unwrap();
        assert_eq!(tensors[&format!("{PREFIX}{q}.lora_A.weight")].shape, [2, 32]);
        assert_eq!(tensors[&format!("{PREFIX}{v}.lora_B.weight")].shape, [16, 5]);
        let again = load(folder.path(), &base).unwrap();
        assert_eq!(logits(&again), logits(&adapted));
        assert!(apart(&logits(&again.merged()), &logits(&adapted)) < 1e-11);
    }

    #[test]
    fn another_base_on_this_machine_is_a_remark() {
        let Some(base) = base("llama-gqa-untied") else { return };
        let folder = tempfile::tempdir().unwrap();
        let [trained_on, other] = ["one", "two"].map(|name| folder.path().join(name));
        [&trained_on, &other].into_iter().for_each(|path| std::fs::create_dir(path).unwrap());
        let settings = LoraSettings { base: trained_on.display().to_string(), ..settings(&base, &[]) };
        let path = folder.path().join("adapter");
        save(&path, &base.with_new_adapter(&settings, 1).unwrap()).unwrap();
        let adapter = Adapter::open(&path).unwrap();
        assert_eq!(adapter.base_remark(&trained_on), None);
        let remark = adapter.base_remark(&other).unwrap();
        assert!(remark.contains("one") && remark.contains("two"), "{remark}");
    }
}
