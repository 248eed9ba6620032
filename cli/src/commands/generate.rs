//! `slpo generate`: text from a model, as it comes; several prompts in one batch.

use super::load::{Loaded, encode_with_bos, ends};
use crate::arguments::{Generate, Shared};
use crate::failure::Failure;
use crate::interrupt::{self, Turn};
use crate::output::Output;
use crate::streaming::TextSoFar;
use model::data::{ChatTemplate, prompts};
use model::generate::{Limits, Sampling, generate};
use serde::Serialize;

/// Prompts that run at once; the next batch draws with the next seed.
const BATCH: usize = 64;

#[derive(Serialize)]
struct Generated {
    tokens: Vec<u32>,
    text: String,
}

/// A prompt as text (none where it came as tokens), and its tokens.
struct Prompt {
    text: Option<String>,
    tokens: Vec<u32>,
}

/// Writes text after each prompt.
///
/// # Errors
/// Those of the model's files, of the prompts and of standard output.
pub fn run(arguments: &Generate, shared: &Shared) -> Result<(), Failure> {
    let loaded = Loaded::open_with(&arguments.model, arguments.adapter.as_deref())?;
    let prompts = prompts(arguments, &loaded)?;
    let output = Output::of_model(shared.json, arguments.raw);
    // The one text of a single prompt is shown as it comes; several cannot be read at once.
    let single = arguments.prompts.is_none() && prompts.len() == 1;
    let shown_at_once = if single { output } else { Output::new(true) };
    let mut generated = Vec::with_capacity(prompts.len());
    interrupt::listen_in_turns()?;
    let running = Turn::begin();
    for (batch, prompts) in (0..).zip(prompts.chunks(BATCH)) {
        let random = engine::Generator::new(shared.seed.wrapping_add(batch));
        generated.extend(answer(arguments, &random, &loaded, prompts, shown_at_once, &running)?);
        if running.interrupted() {
            return Err(stopped(&generated, shown_at_once));
        }
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

/// What follows each prompt, with the end of its text that was not shown yet.
fn answer(
    arguments: &Generate,
    random: &engine::Generator,
    loaded: &Loaded,
    prompts: &[Prompt],
    output: Output,
    running: &Turn,
) -> Result<Vec<(Generated, String)>, Failure> {
    let sampling = Sampling { temperature: arguments.temperature, top_k: arguments.top_k, top_p: arguments.top_p };
    let ends = if arguments.ignore_eos { Vec::new() } else { ends(&arguments.model, loaded)? };
    let limits = Limits { max_tokens: arguments.max_tokens, stop: &ends };
    let mut texts = Vec::with_capacity(prompts.len());
    for prompt in prompts {
        texts.push(TextSoFar::new(loaded.tokenizer.stream(&prompt.tokens)?, &arguments.stop));
    }
    let mut failure = None;
    let contexts: Vec<Vec<u32>> = prompts.iter().map(|prompt| prompt.tokens.clone()).collect();
    let tokens = generate(&loaded.decoder, &contexts, &sampling, limits, random, |sequence, token| {
        if failure.is_some() || ends.contains(&token) || running.interrupted() {
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

/// Ends the text of an interrupted command on a line of its own.
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

/// Every prompt that the command line names, in its order: those of flags, then those of the file.
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
        for row in prompts::read(path, &ChatTemplate::of(tokenizer)?)? {
            let tokens = encode_with_bos(tokenizer, &row.prompt)?;
            all.push(Prompt { text: Some(row.prompt), tokens });
        }
    }
    if all.iter().any(|prompt| prompt.tokens.is_empty()) {
        let reason = "the prompt has no tokens, and the model's tokenizer has no BOS token to begin with: give some text or tokens";
        return Err(Failure::Usage(reason.to_owned()));
    }
    Ok(all)
}
