//! Iteration over values, and the generators that filters such as `map` and `select` return. Generators are lazy, as in Python: an item
//! that nobody asks for cannot cause an error.

use super::dict::{Key, hashed};
use super::fault::{Fault, Outcome};
use super::interpreter::Interpreter;
use super::limits;
use super::types::GeneratorState;
pub use super::types::{Cursor, Generator, Step};
use super::value::{Value, View};
use std::cell::RefCell;
use std::collections::HashSet;
use std::rc::Rc;
use std::sync::Arc;

impl Generator {
    /// Makes a generator that starts to iterate over `input` when its first item is asked for.
    ///
    /// # Errors
    /// If `input` has too many levels.
    pub fn over(input: Value, step: Step) -> Outcome<Value> {
        let depth = super::value::deeper([&input].into_iter())?;
        Ok(Value::Generator(Rc::new(Self { input, step, state: RefCell::default(), depth })))
    }

    /// Makes a generator that continues from `cursor`.
    ///
    /// # Errors
    /// As [`Generator::over`].
    pub fn from_cursor(input: Value, cursor: Cursor) -> Outcome<Value> {
        let depth = super::value::deeper([&input].into_iter())?;
        let state = GeneratorState { cursor: Some(cursor), ..GeneratorState::default() };
        Ok(Value::Generator(Rc::new(Self { input, step: Step::Plain, state: RefCell::new(state), depth })))
    }
}

impl Interpreter<'_> {
    /// Starts an iteration: Python's `iter(value)`.
    ///
    /// # Errors
    /// If the value cannot be iterated over.
    pub fn iterate(&mut self, value: &Value) -> Outcome<Cursor> {
        Ok(match value {
            Value::Undefined(_) => Cursor::Characters(Arc::from(""), 0),
            Value::Text(text) | Value::Markup(text) => Cursor::Characters(text.clone(), 0),
            Value::List(items) | Value::Tuple(items) => Cursor::Items(items.clone(), 0),
            Value::Dict(dict) => Cursor::Entries(dict.clone(), View::Keys, 0),
            Value::View(dict, view) => Cursor::Entries(dict.clone(), *view, 0),
            Value::Range(range) => Cursor::Range(*range, 0),
            Value::Generator(generator) => Cursor::Shared(generator.clone()),
            Value::Loop(_) => return Err(Fault::new("going through \"loop\" itself is not supported")),
            other => return Err(other.misused("cannot be gone through")),
        })
    }

    /// Returns the next item, or `None` at the end.
    ///
    /// # Errors
    /// The errors of the filter or the test that a generator applies.
    pub fn next_of(&mut self, cursor: &mut Cursor) -> Outcome<Option<Value>> {
        self.spend(1)?;
        Ok(match cursor {
            Cursor::Items(items, place) => {
                *place += 1;
                items.values.get(*place - 1).cloned()
            }
            Cursor::Reversed(items, left) => {
                let item = left.checked_sub(1).and_then(|place| items.values.get(place)).cloned();
                *left = left.saturating_sub(1);
                item
            }
            Cursor::Characters(text, place) => {
                let character = text[*place..].chars().next();
                *place += character.map_or(0, char::len_utf8);
                character.map(|character| Value::text(character.to_string()))
            }
            Cursor::Entries(dict, view, place) => {
                *place += 1;
                match (dict.entry(*place - 1), view) {
                    (None, _) => None,
                    (Some((key, _)), View::Keys) => Some(key.clone()),
                    (Some((_, value)), View::Values) => Some(value.clone()),
                    (Some((key, value)), View::Items) => Some(Value::tuple(vec![key.clone(), value.clone()])?),
                }
            }
            Cursor::Range(range, place) => {
                *place += 1;
                (*place <= range.len()).then(|| Value::Integer(range.at(*place - 1)))
            }
            Cursor::Shared(generator) => {
                let generator = generator.clone();
                self.deeper(|interpreter| interpreter.next_generated(&generator))?
            }
        })
    }

    fn next_generated(&mut self, generator: &Generator) -> Outcome<Option<Value>> {
        let mut state = generator.state.try_borrow_mut().map_err(|_| Fault::new("a generator is used within itself"))?;
        if state.is_done {
            return Ok(None);
        }
        if state.cursor.is_none() {
            // Like jinja2's filters, return nothing for an empty input, before looking at the arguments.
            let asks_first = matches!(generator.step, Step::Filter(..) | Step::Attribute(..) | Step::Keep { .. } | Step::Fail(_));
            if asks_first && !generator.input.is_true() {
                state.is_done = true;
                return Ok(None);
            }
            if let Step::Fail(words) = &generator.step {
                return Err(Fault::new(words.clone()));
            }
            state.cursor = Some(self.iterate(&generator.input)?);
        }
        let state = &mut *state;
        let Some(cursor) = state.cursor.as_mut() else { return Ok(None) };
        let next = self.next_step(&generator.step, cursor, &mut state.seen);
        state.is_done = !matches!(next, Ok(Some(_)));
        next
    }

    fn next_step(&mut self, step: &Step, cursor: &mut Cursor, seen: &mut HashSet<Key>) -> Outcome<Option<Value>> {
        if let Step::Batch { size, fill } = step {
            return self.next_batch(cursor, *size, fill.as_ref());
        }
        while let Some(item) = self.next_of(cursor)? {
            match step {
                Step::Plain | Step::Batch { .. } | Step::Fail(_) => return Ok(Some(item)),
                Step::Filter(name, arguments) => return self.filtered(name, item, arguments.clone()).map(Some),
                Step::Attribute(path, default) => return self.at_path(&item, path, default.as_ref()).map(Some),
                Step::Keep { path, test, wanted } => {
                    let tested = self.at_path(&item, path, None)?;
                    let passes = match test {
                        Some((name, arguments)) => self.tested(name, tested, arguments.clone())?,
                        None => tested.is_true(),
                    };
                    if passes == *wanted {
                        return Ok(Some(item));
                    }
                }
                Step::Unique { path, is_case_sensitive } => {
                    let key = self.at_path(&item, path, None)?;
                    self.spend_on_value(&key)?;
                    let key = if *is_case_sensitive { key } else { key.without_case() };
                    if seen.insert(hashed(&key)?) {
                        return Ok(Some(item));
                    }
                }
            }
        }
        Ok(None)
    }

    fn next_batch(&mut self, cursor: &mut Cursor, size: i128, fill: Option<&Value>) -> Outcome<Option<Value>> {
        let mut batch = Vec::new();
        // A size below zero is never reached: as in jinja2, the batch then takes all items.
        while batch.len() as i128 != size || batch.is_empty() {
            match self.next_of(cursor)? {
                Some(item) => batch.push(item),
                None => break,
            }
        }
        if batch.is_empty() {
            return Ok(None);
        }
        if let Some(fill) = fill.filter(|_| (batch.len() as i128) < size) {
            limits::check_list(size as u128)?;
            self.spend(size as u64)?;
            batch.resize(size as usize, fill.clone());
        }
        Value::list(batch).map(Some)
    }

    /// Collects all items of `value`.
    ///
    /// # Errors
    /// As [`Interpreter::iterate`] and [`Interpreter::next_of`].
    pub fn collected(&mut self, value: &Value) -> Outcome<Vec<Value>> {
        let mut cursor = self.iterate(value)?;
        self.rest_of(&mut cursor)
    }

    /// Collects the items that are left.
    ///
    /// # Errors
    /// As [`Interpreter::next_of`].
    pub fn rest_of(&mut self, cursor: &mut Cursor) -> Outcome<Vec<Value>> {
        let mut items = Vec::new();
        while let Some(item) = self.next_of(cursor)? {
            items.push(item);
            limits::check_list(items.len() as u128)?;
        }
        Ok(items)
    }
}
