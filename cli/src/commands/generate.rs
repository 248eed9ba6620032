//! `slpo generate`: continues prompts with a model. A single text is printed token by token, and several run in one batch.

use super::load::{Loaded, encode_framed, encode_with_bos, ends, recommended};
use super::notices::{self, warn};
use crate::arguments::{Generate, Shared};
use crate::failure::Failure;
use crate::interrupt::Turn;
use crate::output::Output;
use crate::streaming::TextSoFar;
use model::config::PositionKind;
use model::data::{ChatTemplate, prompts};
use model::generate::{Sampling, StopConditions, generate};
use model::generation_config::GenerationConfig;
use serde::Serialize;

/// Prompts that run at once. The next batch samples with the next seed.
const BATCH: usize = 64;

/// The number of new tokens if the command line gives none.
const USUAL_LENGTH: usize = 128;

#[derive(Serialize)]
struct Generated {
    tokens: Vec<u32>,
    text: String,
}

/// A prompt as text (`None` if it was given as tokens), and its tokens.
struct Prompt {
    text: Option<String>,
    tokens: Vec<u32>,
}

/// Writes text after each prompt.
///
/// # Errors
/// The errors of the model's files, of the prompts and of standard output.
pub fn run(arguments: &Generate, shared: &Shared) -> Result<(), Failure> {
    let loaded = Loaded::open_to_generate(&arguments.model)?.with_adapter(&arguments.model, arguments.adapter.as_deref())?;
    let prompts = prompts(arguments, &loaded)?;
    let settings = Settings::of(arguments, &loaded)?;
    let longest = prompts.iter().map(|prompt| prompt.tokens.len()).max().unwrap_or(0);
    if let Some(asked) = arguments.max_tokens {
        warn(beyond_context(&loaded, longest + asked).as_slice());
    }
    let output = Output::of_model(shared.json, arguments.raw);
    // The text of a single prompt is printed as it is generated. Several texts would mix, so they are printed at the end.
    let single = arguments.prompts.is_none() && prompts.len() == 1;
    let shown_at_once = if single { output } else { Output::new(true) };
    let mut generated = Vec::with_capacity(prompts.len());
    let running = Turn::of_command();
    for (batch, prompts) in (0..).zip(prompts.chunks(BATCH)) {
        let random = engine::Generator::new(shared.seed.wrapping_add(batch));
        generated.extend(settings.answer(&random, &loaded, prompts, shown_at_once, &running)?);
        if running.interrupted() {
            return Err(stopped(&generated, shown_at_once));
        }
    }
    if arguments.max_tokens.is_none() {
        let lengths = prompts.iter().zip(&generated).map(|(prompt, (one, _))| prompt.tokens.len() + one.tokens.len());
        warn(beyond_context(&loaded, lengths.max().unwrap_or(0)).as_slice());
    }
    match (single, generated.as_slice()) {
        (true, [(one, rest)]) => output.result(one, |to| write!(to, "{rest}{}", newline(&one.text))),
        _ => {
            let all: Vec<&Generated> = generated.iter().map(|(one, _)| one).collect();
            output.result(&all, |to| {
                for (number, (prompt, one)) in (1..).zip(prompts.iter().zip(&all)) {
                    let title = prompt.text.as_ref().map_or_else(|| format!("{:?}", prompt.tokens), |text| format!("{text:?}"));
                    write!(to, "[{number}] {title}\n{}{}", one.text, newline(&one.text))?;
                }
                Ok(())
            })
        }
    }
}

/// Returns a warning if a sequence may be longer than the model's context. With learned positions such a sequence is an error elsewhere.
fn beyond_context(loaded: &Loaded, length: usize) -> Option<String> {
    let longest = loaded.config().max_positions;
    let rotary = matches!(loaded.config().position, PositionKind::Rope { .. });
    (rotary && length > longest).then(|| {
        format!(
            "prompt and text may have {length} tokens, and the model's max_position_embeddings is {longest}: what comes after {longest} tokens \
             may make no sense; --max-tokens sets the most new tokens"
        )
    })
}

/// How texts are sampled, and where they end.
struct Settings {
    sampling: Sampling,
    max_tokens: usize,
    ends: Vec<u32>,
    stops: Vec<String>,
}

impl Settings {
    /// Takes the settings of the command line. The model's own file only gives the ends of a text; if it asks for other sampling, this is
    /// reported.
    fn of(arguments: &Generate, loaded: &Loaded) -> Result<Self, Failure> {
        let own = recommended(&arguments.model)?;
        warn(&own.remarks);
        let flags = arguments.temperature.is_some() || arguments.top_k.is_some() || arguments.top_p.is_some();
        let flags = flags || arguments.min_p.is_some() || arguments.repetition_penalty.is_some();
        warn(asked_for(arguments, &own).filter(|_| !flags).as_slice());
        let plain = Sampling::PLAIN;
        Ok(Self {
            sampling: Sampling {
                temperature: arguments.temperature.unwrap_or(plain.temperature),
                top_k: arguments.top_k.unwrap_or(plain.top_k),
                top_p: arguments.top_p.unwrap_or(plain.top_p),
                min_p: arguments.min_p.unwrap_or(plain.min_p),
                repetition_penalty: arguments.repetition_penalty.unwrap_or(plain.repetition_penalty),
            },
            max_tokens: arguments.max_tokens.unwrap_or(USUAL_LENGTH),
            ends: if arguments.ignore_eos { Vec::new() } else { ends(&arguments.model, loaded)? },
            stops: arguments.stop.iter().chain(own.stop.iter().filter(|_| !arguments.ignore_eos)).cloned().collect(),
        })
    }

    /// Continues each prompt. Returns each text together with its end that was not printed yet.
    fn answer(
        &self,
        random: &engine::Generator,
        loaded: &Loaded,
        prompts: &[Prompt],
        output: Output,
        running: &Turn,
    ) -> Result<Vec<(Generated, String)>, Failure> {
        let limits = StopConditions { max_tokens: self.max_tokens, stop: &self.ends };
        let mut texts = Vec::with_capacity(prompts.len());
        for prompt in prompts {
            texts.push(TextSoFar::new(loaded.tokenizer.stream(&prompt.tokens)?, &self.stops));
        }
        let mut failure = None;
        let contexts: Vec<Vec<u32>> = prompts.iter().map(|prompt| prompt.tokens.clone()).collect();
        let tokens = generate(&loaded.decoder, &contexts, &self.sampling, limits, random, |sequence, token| {
            if failure.is_some() || self.ends.contains(&token) || running.interrupted() {
                return false;
            }
            let text = &mut texts[sequence];
            match text.push(token).map_err(Failure::from).and_then(|new| output.stream(&new)) {
                Ok(()) => !text.stopped(),
                Err(error) => {
                    failure = Some(error);
                    false
                }
            }
        })?;
        let finished = texts.into_iter().zip(tokens).map(|(text, tokens)| {
            let (rest, text) = text.finish();
            (Generated { tokens, text }, rest)
        });
        failure.map_or_else(|| Ok(finished.collect()), Err)
    }
}

/// Returns a warning if the model's `generation_config.json` asks for something other than plain sampling.
fn asked_for(arguments: &Generate, own: &GenerationConfig) -> Option<String> {
    let plain = Sampling::PLAIN;
    let asked = own.sampling.unwrap_or(Sampling { repetition_penalty: own.repetition_penalty, ..plain });
    let settings = [
        ("temperature", asked.temperature, plain.temperature),
        ("top-k", asked.top_k as f64, plain.top_k as f64),
        ("top-p", asked.top_p, plain.top_p),
        ("min-p", asked.min_p, plain.min_p),
        ("repetition-penalty", asked.repetition_penalty, plain.repetition_penalty),
    ];
    let other: Vec<String> =
        settings.into_iter().filter(|(_, asked, plain)| asked != plain).map(|(name, asked, _)| format!("--{name} {asked}")).collect();
    let path = arguments.model.join(model::generation_config::FILE);
    (!other.is_empty()).then(|| {
        format!(
            "{} asks for {}; generate draws from the model's own distribution unless flags say otherwise",
            path.display(),
            other.join(" ")
        )
    })
}

/// Ends the output of an interrupted command with a line break, and returns the failure to report.
fn stopped(generated: &[(Generated, String)], output: Output) -> Failure {
    let tokens: usize = generated.iter().map(|(one, _)| one.tokens.len()).sum();
    let (rest, text) = generated.first().map_or(("", ""), |(one, rest)| (rest.as_str(), one.text.as_str()));
    match output.stream(&format!("{rest}{}", newline(text))) {
        Ok(()) => Failure::Interrupted(format!("{tokens} tokens were written")),
        Err(failure) => failure,
    }
}

fn newline(text: &str) -> &'static str {
    if text.ends_with('\n') { "" } else { "\n" }
}

/// Reads every prompt in the order of the command line: first those of flags, then those of the file.
fn prompts(arguments: &Generate, loaded: &Loaded) -> Result<Vec<Prompt>, Failure> {
    let tokenizer = &loaded.tokenizer;
    let mut all = Vec::new();
    if let Some(tokens) = &arguments.prompt_tokens {
        let tokens = if tokens.0.is_empty() { tokenizer.bos().into_iter().collect() } else { tokens.0.clone() };
        all.push(Prompt { text: None, tokens });
    }
    for text in &arguments.prompt {
        all.push(Prompt { text: Some(text.clone()), tokens: encode_with_bos(tokenizer, text)? });
    }
    if let Some(path) = &arguments.prompts {
        let (rows, remarks) = prompts::read(path, &ChatTemplate::of(tokenizer)?)?;
        notices::of_file(path, &remarks);
        for row in rows {
            let tokens = if row.framed { encode_framed(tokenizer, &row.prompt)? } else { encode_with_bos(tokenizer, &row.prompt)? };
            all.push(Prompt { text: Some(row.prompt), tokens });
        }
    }
    if all.iter().any(|prompt| prompt.tokens.is_empty()) {
        let reason = "the prompt has no tokens, and the model's tokenizer has no BOS token to begin with: give some text or tokens";
        return Err(Failure::Usage(reason.to_owned()));
    }
    Ok(all)
}
