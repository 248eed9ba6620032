//! The learned parts of a conversation: the model's turns, cut out of the text that the chat template writes.
//!
//! A turn begins where the template opens it for generation, and ends with the token that ends it. White space after that token belongs to
//! no turn.
//!
//! Some templates write earlier turns differently once others follow (Qwen3 drops their reasoning), and some models have no template. Then
//! each turn is learned in its own text, which ends with the turn. So every turn follows the text that the model sees when it speaks.

use super::chat::{ChatTemplate, Conversation};
use super::message::{Message, Role};
use crate::error::Result;
use serde::Serialize;
use std::ops::Range;

/// The turns of the model that are learned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Turns {
    /// Every turn of the model.
    #[default]
    All,
    /// The last turn.
    Last,
}

/// A text with parts that are learned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Learned {
    /// The text before the first learned part.
    pub prompt: String,
    /// The prompt as the template writes it when no answer follows, if it differs from `prompt`.
    pub alone: Option<String>,
    /// The text from the start of the first learned part to the end of the last one.
    pub completion: String,
    /// Bytes of the completion that are context only, ascending.
    pub context: Vec<Range<usize>>,
    /// Pairs of an index into `context` and a text. The text goes up to the turn after that part of the context, as the template writes it
    /// when the turn does not follow.
    pub openings: Vec<(usize, String)>,
    /// The number of the model's turns that are learned.
    pub turns: usize,
}

/// A prompt with several versions of the text after it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answers<const N: usize> {
    /// The common start of all versions, as far as the template also writes it without them.
    pub prompt: String,
    /// The prompt as the template writes it when no answer follows, if it differs from `prompt`.
    pub alone: Option<String>,
    /// The text after the prompt in each version.
    pub completions: [String; N],
}

/// A cutter of conversations into turns, for one template.
pub struct Turner<'a> {
    chat: &'a ChatTemplate,
    end_of_turn: Option<String>,
}

impl<'a> Turner<'a> {
    /// Makes a turner for a template. The template's end of turn is looked up once.
    pub fn new(chat: &'a ChatTemplate) -> Self {
        Self { chat, end_of_turn: chat.end_of_turn() }
    }

    /// Returns the template.
    pub fn chat(&self) -> &'a ChatTemplate {
        self.chat
    }

    /// Returns the prompt before the model's next words, and `N` versions of the text after it. `wholes` are the conversations with each
    /// answer. The messages from `own` on are the answer.
    ///
    /// The prompt is the common start of the texts with each answer and of the conversation before. If a template writes earlier turns
    /// differently once an answer follows, their text moves into the completion, as in TRL. An empty answer is an empty completion,
    /// whatever the template writes around it.
    ///
    /// # Errors
    /// As [`ChatTemplate::prompt`].
    pub fn answers<const N: usize>(&self, before: &Conversation, wholes: [&[Message]; N], own: usize) -> Result<Answers<N>> {
        let alone = self.chat.prompt(before)?;
        let mut prompt = alone.clone();
        let mut texts = [const { String::new() }; N];
        for (text, whole) in texts.iter_mut().zip(wholes) {
            if whole[own..].iter().all(Message::is_empty) {
                continue;
            }
            *text = self.chat.whole(&before.with(whole))?.text;
            prompt.truncate(common_start(&prompt, text));
        }
        let completions =
            texts.map(|text| text.get(prompt.len()..).map_or(String::new(), |completion| self.to_its_end(completion).to_owned()));
        let alone = Some(alone).filter(|alone| *alone != prompt);
        Ok(Answers { prompt, alone, completions })
    }

    /// Returns the learned texts of a conversation. There are several if the template writes earlier turns differently later. There are
    /// none if every turn of the model is empty or excluded from learning.
    ///
    /// # Errors
    /// As [`ChatTemplate::prompt`].
    pub fn learned(&self, conversation: &Conversation, turns: Turns) -> Result<Vec<Learned>> {
        let all = &conversation.messages;
        let own = |message: &Message| message.role == Role::Assistant && message.learned && !message.is_empty();
        let mut learned: Vec<usize> = (0..all.len()).filter(|&place| own(&all[place])).collect();
        if turns == Turns::Last {
            let last = all.iter().rposition(|message| message.role == Role::Assistant);
            learned.retain(|place| Some(*place) == last);
        }
        let Some(&last) = learned.last() else { return Ok(Vec::new()) };
        let conversation = conversation.with(&all[..=last]);
        match self.chat {
            ChatTemplate::Transcript => learned.iter().map(|&place| self.in_transcript(&conversation, place)).collect(),
            ChatTemplate::Jinja(_) => self.by_template(&conversation, &learned),
        }
    }

    fn in_transcript(&self, conversation: &Conversation, place: usize) -> Result<Learned> {
        let messages = &conversation.messages;
        let prompt = self.chat.opened(&conversation.with(&messages[..place]))?;
        let whole = self.chat.whole(&conversation.with(&messages[..=place]))?.text;
        let completion = whole.get(prompt.len()..).unwrap_or_default().to_owned();
        Ok(Learned { prompt, alone: None, completion, context: Vec::new(), openings: Vec::new(), turns: 1 })
    }

    fn by_template(&self, conversation: &Conversation, learned: &[usize]) -> Result<Vec<Learned>> {
        let whole = self.chat.whole(conversation)?;
        let own = |message: &&Message| message.role == Role::Assistant;
        let places: Vec<usize> = (0..conversation.messages.len()).filter(|&i| own(&&conversation.messages[i])).collect();
        if whole.generated.len() == places.len() && !places.is_empty() {
            let marked = places.iter().zip(whole.generated).filter(|(place, span)| learned.contains(place) && !span.is_empty());
            let spans: Vec<Range<usize>> = marked.map(|(_, span)| span).collect();
            return Ok(cut(&whole.text, &spans).into_iter().collect());
        }
        let (mut spans, mut alone) = (Vec::new(), Vec::new());
        for &place in learned {
            let text = self.chat.whole(&conversation.with(&conversation.messages[..=place]))?.text;
            let opened = self.before_turn(conversation, place, &text)?;
            let start = common_start(&opened, &text);
            let end = start + self.to_its_end(&text[start..]).len();
            let follows = spans.last().is_none_or(|before: &Range<usize>| before.end <= start);
            if follows && whole.text.starts_with(&text[..end]) {
                spans.push(start..end);
            }
            alone.push((text, opened, start..end));
        }
        if spans.len() == alone.len() {
            let Some(learned) = cut(&whole.text, &spans) else { return Ok(Vec::new()) };
            // Each gap of a text has a turn after it, unless a turn is empty. Then gaps and turns do not match: openings are left out.
            let all = learned.turns == alone.len() && learned.context.len() + 1 == alone.len();
            let mut openings = alone.into_iter().map(|(_, opened, span)| Some(opened).filter(|opened| opened.len() != span.start));
            let first = openings.next().flatten();
            let later = openings.enumerate().filter_map(|(gap, opened)| Some((gap, opened?))).collect();
            return Ok(vec![Learned { alone: first, openings: if all { later } else { Vec::new() }, ..learned }]);
        }
        let each = alone.into_iter().filter_map(|(text, opened, span)| {
            let alone = Some(opened).filter(|opened| opened.len() != span.start);
            cut(&text, std::slice::from_ref(&span)).map(|learned| Learned { alone, ..learned })
        });
        Ok(each.collect())
    }

    /// Returns the text before the turn at `place`. `text` is the conversation up to the end of this turn. If a template refuses a
    /// conversation without messages, the first turn is opened by the text before its words.
    fn before_turn(&self, conversation: &Conversation, place: usize, text: &str) -> Result<String> {
        match self.chat.opened(&conversation.with(&conversation.messages[..place])) {
            Err(_) if place == 0 => {
                let words = conversation.messages[0].text();
                Ok(text[..text.find(words.trim()).unwrap_or(0)].to_owned())
            }
            opened => opened,
        }
    }

    /// Removes the white space after the end of a turn.
    fn to_its_end<'t>(&self, text: &'t str) -> &'t str {
        let trimmed = text.trim_end();
        if self.end_of_turn.as_ref().is_some_and(|end| trimmed.ends_with(end.as_str())) { trimmed } else { text }
    }
}

impl ChatTemplate {
    /// Returns the prompt before a turn of the model, and `N` versions of the turn, each a text. See [`super::preferences::read`] for rows.
    ///
    /// # Errors
    /// As [`ChatTemplate::prompt`].
    pub fn turn<const N: usize>(&self, before: &[Message], answers: [&str; N]) -> Result<(String, [String; N])> {
        let whole = |answer: &str| [before, &[Message::new(Role::Assistant, answer)]].concat();
        let wholes = answers.map(whole);
        let wholes = std::array::from_fn(|place| wholes[place].as_slice());
        let Answers { prompt, completions, .. } = Turner::new(self).answers(&Conversation::of(before.to_vec()), wholes, before.len())?;
        Ok((prompt, completions))
    }
}

/// Takes the text up to the end of the last span, and cuts it at the start of the first span.
fn cut(text: &str, spans: &[Range<usize>]) -> Option<Learned> {
    let spans: Vec<&Range<usize>> = spans.iter().filter(|span| !text[(*span).clone()].is_empty()).collect();
    let (first, last) = (spans.first()?.start, spans.last()?.end);
    let between = spans.windows(2).map(|pair| pair[0].end - first..pair[1].start - first);
    Some(Learned {
        prompt: text[..first].to_owned(),
        alone: None,
        completion: text[first..last].to_owned(),
        context: between.filter(|gap| !gap.is_empty()).collect(),
        openings: Vec::new(),
        turns: spans.len(),
    })
}

/// Returns the length in bytes of the longest common start that ends between characters.
pub(super) fn common_start(text: &str, other: &str) -> usize {
    let same = text.chars().zip(other.chars()).take_while(|(a, b)| a == b);
    same.map(|(character, _)| character.len_utf8()).sum()
}
