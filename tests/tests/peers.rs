//! What slpo writes, read by transformers and peft; what llama.cpp's package writes, read by slpo; the same training by TRL and by slpo.
//!
//! Needs Python packages: see tests/peers/README.md. Without `SLPO_PEERS_PYTHON` each test says that it is skipped.

mod command;
mod shared;

use command::{Workplace, binary, object, slpo, slpo_words, text};
use engine::{Backend, Cpu, Device};
use model::adapter;
use model::config::Config;
use model::convert::{convert, to_gguf};
use model::decoder::{Decoder, LoraSettings, Packed, usual_targets};
use model::gguf::writer::Stored;
use model::model_folder::ModelFolder;
use serde_json::{Value, json};
use shared::shared;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Real folders: the seven random ones, one of each kind, and the trained ones.
const FOLDERS: [&str; 10] = [
    "tiny-random/gpt2",
    "tiny-random/gptneox-parallel-partial-rotary",
    "tiny-random/llama-gqa-untied",
    "tiny-random/llama3-rope-scaling",
    "tiny-random/mistral-sliding-window",
    "tiny-random/qwen2-qkv-bias",
    "tiny-random/qwen3-qk-norm",
    "stories260k/hf",
    "glassllm-en/hf",
    "gpt-nano-sort/hf",
];

/// The Python that has the packages, or `None` with a line that says so.
fn python() -> Option<OsString> {
    let python = std::env::var_os("SLPO_PEERS_PYTHON");
    if python.is_none() {
        println!("skipped: SLPO_PEERS_PYTHON does not name a Python with torch, transformers, trl, peft and gguf");
    }
    python
}

fn script(name: &str, arguments: &[&Path]) -> Option<String> {
    let python = python()?;
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers").join(name);
    let output = Command::new(python).arg(script).args(arguments).env("HF_HUB_OFFLINE", "1").output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    println!("{text}");
    assert!(output.status.success(), "{name}: {text}{}", String::from_utf8_lossy(&output.stderr));
    Some(text)
}

fn logits<B: Backend>(decoder: &Decoder<B>, tokens: &[u32]) -> Vec<Vec<f64>> {
    let all = decoder.logits(&Packed::new([tokens])).to_f64();
    all.chunks_exact(decoder.config().vocab_size).map(<[f64]>::to_vec).collect()
}

/// Some tokens that the model has, as many as a window and a learned context allow to be interesting.
fn some_tokens(model: &ModelFolder) -> Vec<u32> {
    let vocabulary = model.config.vocab_size as u32;
    (0..model.config.max_positions.min(24) as u32).map(|i| (7 * i + 3) % vocabulary).collect()
}

/// Writes our logits of at most `longest` tokens into the folder.
fn with_our_logits(folder: &Path, longest: usize) {
    let model = ModelFolder::open(folder).unwrap();
    let decoder = Decoder::from_tensors(&Device::default(), &model.config, model.tensors.clone()).unwrap();
    let mut tokens = some_tokens(&model);
    tokens.truncate(longest);
    let text = json!({ "tokens": tokens, "logits": logits(&decoder, &tokens) }).to_string();
    std::fs::write(folder.join("slpo.json"), text).unwrap();
}

#[test]
fn transformers_loads_what_is_written_and_gives_the_same_logits() {
    let out = tempfile::tempdir().unwrap();
    let mut written: Vec<PathBuf> = Vec::new();
    for name in FOLDERS {
        let Some(source) = shared(&format!("data/{name}")) else { return };
        let model = ModelFolder::open(&source).unwrap();
        let decoder = Decoder::from_tensors(&Device::default(), &model.config, model.tensors.clone()).unwrap();
        let folder = out.path().join(name.replace('/', "-"));
        // From the decoder, as after training, and not merely the tensors that were read.
        ModelFolder::save(&folder, &model.config, &decoder.to_tensors(), &model.tokenizer).unwrap();
        written.push(folder);
    }
    let converted = out.path().join("stories260k-from-llama2c");
    let source = shared("data/stories260k").unwrap();
    convert(&source.join("stories260K.bin"), Some(&source.join("tok512.bin")), &converted).unwrap();
    written.push(converted);
    written.iter().for_each(|folder| with_our_logits(folder, usize::MAX));
    let paths: Vec<&Path> = written.iter().map(PathBuf::as_path).collect();
    if let Some(text) = script("transformers_roundtrip.py", &paths) {
        assert_eq!(text.matches(" equal").count(), paths.len(), "{text}");
    }
}

/// The whole way of a person, by the binary: a published model, aligned, and what transformers then makes of the folder.
#[test]
fn a_model_that_the_binary_aligned_says_the_same_in_transformers() {
    let (Some(source), Some(pairs)) = (shared("data/stories260k"), shared("data/blimp-pairs/dev.jsonl")) else { return };
    let workplace = Workplace::new();
    let paths = [("", workplace.path("")), ("source", source), ("pairs", pairs)];
    let paths: Vec<(&str, &Path)> = paths.iter().map(|(name, path)| (*name, path.as_path())).collect();
    object(&slpo("convert {source}/stories260K.bin --tokenizer {source}/tok512.bin --out {}/stories --json", &paths));
    let template = "{% for m in messages %}{{ m.role + ': ' + m.content + '\n' }}{% endfor %}{% if add_generation_prompt %}{{ 'assistant:' }}{% endif %}";
    workplace.write("stories/chat_template.jinja", template);
    workplace.write("stories/generation_config.json", "{\"bos_token_id\": 1, \"eos_token_id\": [2, 3]}");
    text(&slpo(
        "align --model {}/stories --data {pairs} --loss dpo --steps 4 --batch 8 --learning-rate 3e-4 --warmup 0 --out {}/aligned",
        &paths,
    ));

    let words = ["Once upon a time", " two  spaces\n\tand a tab", "naïve 東京 🐻", "</s> is special"];
    let aligned = workplace.path("aligned").display().to_string();
    let scored = |words: &str| object(&slpo_words(&["score", "--model", &aligned, "--text", words, "--json"]));
    let texts: Vec<Value> = words.iter().map(|words| json!([words, scored(words)["tokens"]])).collect();
    let score = scored(words[0]);
    let prompt: Vec<String> = shared::tokens(&score["tokens"]).iter().map(u32::to_string).collect();
    let line = format!("generate --model {{}}/aligned --prompt-tokens {} --max-tokens 60 --temperature 0 --json", prompt.join(","));
    let greedy = object(&workplace.run(&line))["tokens"].clone();
    let messages = json!([{"role": "user", "content": "hi"}]);
    let facts = json!({
        "tokens": score["tokens"], "logits": [score["logits"]], "greedy": greedy, "texts": texts,
        "chat": [[messages, "user: hi\nassistant:"]],
    });
    workplace.write("aligned/slpo.json", &facts.to_string());
    if let Some(text) = script("transformers_roundtrip.py", &[&workplace.path("aligned")]) {
        assert!(text.contains("aligned: LlamaForCausalLM") && text.contains(" equal"), "{text}");
    }
}

#[test]
fn shards_in_half_precision_that_transformers_wrote_give_its_logits() {
    let out = tempfile::tempdir().unwrap();
    let sources: Option<Vec<PathBuf>> = FOLDERS[..7].iter().map(|name| shared(&format!("data/{name}"))).collect();
    let Some(sources) = sources else { return };
    let arguments: Vec<&Path> = [out.path()].into_iter().chain(sources.iter().map(PathBuf::as_path)).collect();
    if script("sharded_models.py", &arguments).is_none() {
        return;
    }
    for (source, kind) in sources.iter().flat_map(|source| [(source, "f16"), (source, "bf16")]) {
        let folder = out.path().join(format!("{}-{kind}", source.file_name().unwrap().to_str().unwrap()));
        assert!(folder.join("model.safetensors.index.json").exists(), "{folder:?} is in several files");
        let expected = shared::json(&folder.join("logits.json"));
        let model = ModelFolder::open(&folder).unwrap();
        let decoder = Decoder::from_tensors(&Device::default(), &model.config, model.tensors.clone()).unwrap();
        let ours = logits(&decoder, &shared::tokens(&expected["tokens"])).pop().unwrap();
        let theirs = shared::numbers(&expected["logits"]);
        // Two programs in f32: some units in the seventh digit.
        assert!(ours.len() == theirs.len() && ours.iter().zip(&theirs).all(|(a, b)| (a - b).abs() < 2e-4), "{folder:?}");
    }
}

/// transformers reads neither Llama 3's factors nor the width of Qwen 3's heads from a GGUF file, and no file of GPT-NeoX. It ignores
/// Mistral's window, so that model gets no more tokens than that.
#[test]
fn transformers_gives_the_same_logits_from_the_gguf_files_that_are_written() {
    let out = tempfile::tempdir().unwrap();
    let is_read = |name: &&str| !(name.contains("llama3") || name.contains("qwen3"));
    let mut written: Vec<PathBuf> = Vec::new();
    for name in FOLDERS.into_iter().filter(is_read) {
        let Some(source) = shared(&format!("data/{name}")) else { return };
        let folder = out.path().join(name.replace('/', "-"));
        let model = ModelFolder::open(&source).unwrap();
        ModelFolder::save(&folder, &model.config, &model.tensors, &model.tokenizer).unwrap();
        with_our_logits(&folder, model.config.sliding_window.unwrap_or(usize::MAX));
        to_gguf::write(&source, &folder.join("model.gguf"), Stored::F32).unwrap();
        for file in ["config.json", "model.safetensors"] {
            std::fs::remove_file(folder.join(file)).unwrap();
        }
        written.push(folder);
    }
    let paths: Vec<&Path> = written.iter().map(PathBuf::as_path).collect();
    if let Some(text) = script("gguf_roundtrip.py", &paths) {
        assert_eq!((text.matches(" equal").count(), text.matches(" are read").count()), (paths.len() - 1, 1), "{text}");
    }
}

#[test]
fn gguf_files_of_llama_cpp_s_package_give_back_the_folder_they_came_from() {
    let folder = tempfile::tempdir().unwrap();
    for name in FOLDERS.iter().filter(|name| **name != "glassllm-en/hf") {
        let Some(source) = shared(&format!("data/{name}")) else { return };
        let (file, out) = (folder.path().join("model.gguf"), folder.path().join(name));
        if script("make_gguf.py", &[Path::new("model"), &source, &file]).is_none() {
            return;
        }
        convert(&file, None, &out).unwrap();
        let [ours, theirs] = [&out, &source].map(|folder| ModelFolder::open(folder).unwrap());
        // A model this small has too few frequencies for the factors in the file to tell which context Llama 3's scaling was for.
        let position = if name.contains("llama3") { theirs.config.position } else { ours.config.position };
        assert_eq!(Config { position, ..ours.config.clone() }, theirs.config, "{name}");
        let run = |config: &Config, model: &ModelFolder| {
            let decoder = Decoder::from_tensors(&Cpu::<f64>::new(), config, model.tensors.clone()).unwrap();
            logits(&decoder, &some_tokens(model)).concat()
        };
        let (a, b) = (run(&ours.config, &ours), run(&theirs.config, &theirs));
        assert!(a.iter().zip(&b).all(|(a, b)| (a - b).abs() < 1e-9), "{name}: logits differ");
        assert_eq!(ours.tensors.len(), theirs.tensors.len(), "{name}");
        for (tensor, values) in &theirs.tensors {
            assert!(ours.tensors[tensor].data == values.data, "{name}: {tensor} differs");
        }
    }
}

#[test]
fn quantised_gguf_files_come_close_and_bring_their_tokenizer() {
    let Some(source) = shared("data/stories260k") else { return };
    let folder = tempfile::tempdir().unwrap();
    let theirs = ModelFolder::open(&source.join("hf")).unwrap();
    let tokenizer = {
        let out = folder.path().join("llama2c");
        convert(&source.join("stories260K.bin"), Some(&source.join("tok512.bin")), &out).unwrap();
        ModelFolder::open(&out).unwrap().tokenizer
    };
    let text = "Once upon a time, there was a little girl named Lily. \u{1F600}";
    // Half a step of the types' grids, for weights whose blocks reach about 1.5.
    for (kind, largest) in [("F16", 1e-3), ("BF16", 1e-2), ("Q8_0", 1e-2), ("Q4_0", 0.25), ("Q4_1", 0.15)] {
        let (file, out) = (folder.path().join("model.gguf"), folder.path().join(kind));
        let arguments = [Path::new("model"), &source.join("hf"), &file, Path::new("--type"), Path::new(kind)];
        if script("make_gguf.py", &arguments).is_none() {
            return;
        }
        let report = convert(&file, None, &out).unwrap();
        assert!(report.has_tokenizer, "{report:?}");
        let ours = ModelFolder::open(&out).unwrap();
        assert_eq!(ours.tokenizer.encode(text).unwrap(), tokenizer.encode(text).unwrap(), "{kind}");
        assert_eq!((ours.tokenizer.bos(), ours.tokenizer.eos()), (Some(1), Some(2)));
        for (name, values) in &theirs.tensors {
            let worst = ours.tensors[name].data.iter().zip(&values.data).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(worst <= largest, "{kind}: {name} is off by {worst}");
        }
    }
    let arguments = [Path::new("model"), &source.join("hf"), &folder.path().join("q5"), Path::new("--type"), Path::new("Q5_0")];
    script("make_gguf.py", &arguments).unwrap();
    let message = convert(&folder.path().join("q5"), None, &folder.path().join("none")).unwrap_err().to_string();
    assert!(message.contains("the type Q5_0 of tensor"), "{message}");
}

/// A folder with a base model, an adapter as training leaves one, and our logits with it.
fn adapted(name: &str, folder: &Path) -> Option<()> {
    let model = ModelFolder::open(&shared(&format!("data/{name}"))?).unwrap();
    let base = Decoder::from_tensors(&Device::default(), &model.config, model.tensors.clone()).unwrap();
    ModelFolder::save(&folder.join("base"), &model.config, &base.to_tensors(), &model.tokenizer).unwrap();
    let path = folder.join("base").to_str().unwrap().to_owned();
    let targets = usual_targets(&model.config);
    let settings = LoraSettings { rank: 3, alpha: 6.0, rank_stabilised: false, targets, base: path, ..LoraSettings::default() };
    let mut generator = engine::Generator::new(3);
    let new = base.with_new_adapter(&settings, 1).unwrap();
    let adapted = new.with_trained(&mut |_, shape| {
        let data: Vec<f64> = (0..shape.iter().product()).map(|_| 0.2 * generator.normal()).collect();
        Ok(engine::Tensor::parameter(base.backend(), &data, shape))
    });
    let adapted = adapted.unwrap();
    adapter::save(folder, &adapted).unwrap();
    ModelFolder::save(&folder.join("merged"), &model.config, &adapted.merged().to_tensors(), &model.tokenizer).unwrap();
    let tokens = some_tokens(&model);
    let text = json!({ "tokens": tokens, "logits": logits(&adapted, &tokens) }).to_string();
    std::fs::write(folder.join("slpo.json"), text).unwrap();
    Some(())
}

#[test]
fn peft_loads_an_adapter_and_gives_the_same_logits_and_what_peft_writes_is_loaded() {
    let out = tempfile::tempdir().unwrap();
    let names =
        ["tiny-random/gpt2", "tiny-random/gptneox-parallel-partial-rotary", "tiny-random/llama-gqa-untied", "tiny-random/qwen3-qk-norm"];
    let folders: Vec<PathBuf> = names.iter().map(|name| out.path().join(name.replace('/', "-"))).collect();
    for (name, folder) in names.iter().zip(&folders) {
        let Some(()) = adapted(name, folder) else { return };
    }
    let paths: Vec<&Path> = folders.iter().map(PathBuf::as_path).collect();
    let Some(text) = script("peft_adapter.py", &paths) else { return };
    assert_eq!(text.matches(" equal").count(), paths.len(), "{text}");
    for folder in &folders {
        let model = ModelFolder::open(&folder.join("base")).unwrap();
        let base = Decoder::from_tensors(&Device::default(), &model.config, model.tensors.clone()).unwrap();
        let theirs = adapter::load(&folder.join("peft"), &base).unwrap();
        let expected = shared::json(&folder.join("peft/logits.json"));
        let rows = expected["logits"].as_array().unwrap().iter().map(shared::numbers);
        let tokens = shared::tokens(&expected["tokens"]);
        for (ours, theirs) in logits(&theirs, &tokens).iter().zip(rows) {
            // Two programs in f32: some units in the seventh digit.
            assert!(ours.iter().zip(&theirs).all(|(a, b)| (a - b).abs() < 2e-4), "{folder:?}");
        }
    }
}

/// TRL's trainers and the binary on the same rows: the script prints the table and holds the errors to what f32 explains.
#[test]
fn twenty_steps_of_every_loss_are_those_of_trl() {
    /// Five preference losses, fine-tuning, and DPO on an adapter.
    const RUNS: usize = 7;
    let sources: Option<Vec<PathBuf>> = FOLDERS[..8].iter().map(|name| shared(&format!("data/{name}"))).collect();
    let (Some(sources), Some(_)) = (sources, python()) else { return };
    let work = tempfile::tempdir().unwrap();
    let arguments: Vec<&Path> = [binary(), work.path()].into_iter().chain(sources.iter().map(PathBuf::as_path)).collect();
    let table = script("trainers.py", &arguments).unwrap();
    assert_eq!(table.matches("  equal").count(), RUNS * sources.len(), "{table}");
}
