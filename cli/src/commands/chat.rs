//! `slpo chat`: holds a conversation on the terminal, or with a program that writes lines to standard input.

use super::load::{Loaded, encode_framed, ends, longest_sequence, recommended};
use super::notices::warn;
use crate::arguments::{Chat, Shared};
use crate::failure::Failure;
use crate::interrupt::{self, Turn};
use crate::output::Output;
use crate::streaming::TextSoFar;
use crate::terminal;
use engine::{Device, Generator};
use model::chat_template::JinjaTemplate;
use model::data::{Message, Role};
use model::generate::{Sampling, StopConditions};
use model::generation_config::GenerationConfig;
use model::session::Session;
use model::tokenizer::Tokenizer;
use serde_json::json;
use std::io::{self, BufRead, IsTerminal, Write};

/// The sampling if neither the command line nor the model gives it.
const USUAL: Sampling = Sampling { temperature: 0.7, ..Sampling::PLAIN };

/// Holds a conversation until /exit or the end of the input.
///
/// # Errors
/// The errors of the model's files, of its chat template, and of standard input and output.
pub fn run(arguments: &Chat, shared: &Shared) -> Result<(), Failure> {
    let Loaded { decoder, mut tokenizer } = Loaded::open_to_generate(&arguments.model)?;
    if let Some(path) = &arguments.chat_template {
        tokenizer = tokenizer.with_chat_template(path)?;
    }
    let loaded = Loaded { decoder, tokenizer };
    let Some(template) = loaded.tokenizer.chat_template()? else {
        return Err(Failure::Failed(format!(
            "{}: the model has no chat template (chat_template in tokenizer_config.json, or chat_template.jinja): give one with \
             --chat-template, or go on from plain text with slpo generate",
            arguments.model.display()
        )));
    };
    let own = recommended(&arguments.model)?;
    warn(&own.remarks);
    let mut conversation = Conversation {
        session: Session::new(&loaded.decoder),
        tokenizer: &loaded.tokenizer,
        ends: ends(&arguments.model, &loaded)?,
        sampling: sampling(arguments, &own),
        stops: arguments.stop.iter().chain(&own.stop).cloned().collect(),
        generator: Generator::new(shared.seed),
        longest: longest_sequence(loaded.config(), Some(loaded.config().max_positions)),
        output: Output::of_model(shared.json, arguments.raw),
        messages: arguments.system.iter().map(|text| message(Role::System, text)).collect(),
        template,
        arguments,
    };
    interrupt::listen_in_turns();
    conversation.hold()
}

/// Takes each setting from the command line, else from the model's file, else from the defaults.
fn sampling(arguments: &Chat, own: &GenerationConfig) -> Sampling {
    let own = own.sampling.unwrap_or(Sampling { repetition_penalty: own.repetition_penalty, ..USUAL });
    Sampling {
        temperature: arguments.temperature.unwrap_or(own.temperature),
        top_k: arguments.top_k.unwrap_or(own.top_k),
        top_p: arguments.top_p.unwrap_or(own.top_p),
        min_p: arguments.min_p.unwrap_or(own.min_p),
        repetition_penalty: arguments.repetition_penalty.unwrap_or(own.repetition_penalty),
    }
}

fn message(role: Role, content: &str) -> Message {
    Message::new(role, content)
}

/// The messages so far, and the state from which the conversation continues.
struct Conversation<'a> {
    session: Session<'a, Device>,
    tokenizer: &'a Tokenizer,
    template: JinjaTemplate,
    ends: Vec<u32>,
    sampling: Sampling,
    /// Texts that end an answer.
    stops: Vec<String>,
    generator: Generator,
    /// The most tokens in the model's context.
    longest: usize,
    output: Output,
    messages: Vec<Message>,
    arguments: &'a Chat,
}

impl Conversation<'_> {
    /// Reads lines and answers them.
    fn hold(&mut self) -> Result<(), Failure> {
        let terminal = io::stdin().is_terminal();
        if terminal {
            note("/reset starts anew, /exit ends; ctrl-C stops an answer");
        }
        let mut lines = io::stdin().lock().lines();
        loop {
            if terminal {
                prompt_mark();
            }
            let Some(line) = lines.next() else { break };
            let line = line.map_err(|error| Failure::Failed(format!("cannot read standard input: {error}")))?;
            match line.trim() {
                "" => {}
                "/exit" | "/quit" => break,
                "/reset" => self.messages.retain(|message| message.role == Role::System),
                said => self.turn(said)?,
            }
        }
        if terminal {
            note("");
        }
        let messages = self.messages.iter().map(|message| message.to_json(true));
        let messages: Vec<_> = messages.collect();
        self.output.result(&json!({"messages": messages, "cached_tokens": self.session.cached()}), |_| Ok(()))
    }

    /// Answers a message. If the conversation is too long, says so and drops the message.
    fn turn(&mut self, said: &str) -> Result<(), Failure> {
        self.messages.push(message(Role::User, said));
        let text = self.template.render(&self.messages, true)?;
        let prompt = encode_framed(self.tokenizer, &text)?;
        let room = self.longest.saturating_sub(prompt.len());
        if room == 0 {
            self.messages.pop();
            note(&format!("the conversation has {} tokens, the model allows {}: /reset starts anew", prompt.len(), self.longest));
            return Ok(());
        }
        let answer = self.answer(&prompt, room)?;
        self.messages.push(message(Role::Assistant, &answer));
        Ok(())
    }

    /// Generates the model's answer and prints it token by token. White space around the answer belongs to the template.
    fn answer(&mut self, prompt: &[u32], room: usize) -> Result<String, Failure> {
        let limits = StopConditions { max_tokens: self.arguments.max_tokens.min(room), stop: &self.ends };
        let mut text = TextSoFar::new(self.tokenizer.stream(prompt)?, &self.stops);
        let (output, ends) = (self.output, &self.ends);
        let (mut failure, mut begun) = (None, false);
        let mut show = |new: &str| {
            let new = if begun { new } else { new.trim_start() };
            begun |= !new.is_empty();
            output.stream(new)
        };
        let running = Turn::of_chat();
        self.session.generate(prompt, &self.sampling, limits, &mut self.generator, |token| {
            if ends.contains(&token) || running.interrupted() {
                return false;
            }
            match text.push(token).map_err(Failure::from).and_then(|new| show(&new)) {
                Ok(()) => !text.stopped(),
                Err(error) => {
                    failure = Some(error);
                    false
                }
            }
        })?;
        drop(running);
        if let Some(failure) = failure {
            return Err(failure);
        }
        let (rest, whole) = text.finish();
        show(&rest)?;
        output.stream("\n")?;
        Ok(whole.trim().to_owned())
    }
}

fn note(text: &str) {
    terminal::say(text);
}

fn prompt_mark() {
    let mut stderr = io::stderr();
    let _ = stderr.write_all(b"> ").and_then(|()| stderr.flush());
}
