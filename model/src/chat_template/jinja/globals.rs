//! The functions that are defined in every template.

use super::arguments::{Arguments, integer, required, text};
use super::dict::Dict;
use super::fault::{Fault, Outcome, refuse};
use super::interpreter::{Interpreter, check_attribute_name};
use super::limits::LONGEST_RANGE;
use super::value::{Cycler, Function, Items, Joiner, Range, Value};
use std::cell::Cell;
use std::fmt::Write;
use std::rc::Rc;

/// Returns the function called `name`.
pub fn function(name: &str) -> Option<Function> {
    Some(match name {
        "range" => Function::Range,
        "dict" => Function::Dict,
        "namespace" => Function::Namespace,
        "cycler" => Function::Cycler,
        "joiner" => Function::Joiner,
        "lipsum" => Function::Lipsum,
        "raise_exception" => Function::RaiseException,
        "strftime_now" => Function::StrftimeNow,
        _ => return None,
    })
}

impl Interpreter<'_> {
    /// Calls a function.
    ///
    /// # Errors
    /// If its arguments are wrong. `raise_exception` always returns an error.
    pub fn call_function(&mut self, function: Function, arguments: Arguments) -> Outcome<Value> {
        match function {
            Function::Range => range(arguments),
            Function::Dict => Ok(Value::Dict(Rc::new(self.dict_of(arguments, "dict")?))),
            Function::Namespace => {
                let entries = self.dict_of(arguments, "namespace")?;
                for name in entries.iter().filter_map(|(key, _)| key.as_text()) {
                    check_attribute_name(name)?;
                }
                self.new_namespace(entries)
            }
            Function::Cycler => {
                if !arguments.named.is_empty() || arguments.positional.is_empty() {
                    refuse!("cycler takes one item at least, none by name");
                }
                let items = Rc::new(Items::new(arguments.positional)?);
                Ok(Value::Cycler(Rc::new(Cycler { items, place: Cell::new(0) })))
            }
            Function::Joiner => {
                let [separator] = arguments.bind("joiner", ["sep"])?;
                let separator = separator.unwrap_or_else(|| Value::text(", "));
                Ok(Value::Joiner(Rc::new(Joiner { separator, is_used: Cell::new(false) })))
            }
            Function::Lipsum => refuse!("lipsum is not supported: its text is another one each time"),
            Function::RaiseException => {
                let [message] = arguments.bind("raise_exception", ["message"])?;
                let message = required(message, "raise_exception")?;
                Err(Fault::raised(&*self.text_of(&message)?))
            }
            Function::StrftimeNow => {
                let [format] = arguments.bind("strftime_now", ["format"])?;
                let format = required(format, "strftime_now")?;
                let now = formatted_now(text(&format, "strftime_now")?)?;
                self.made_text(now)
            }
        }
    }

    /// Collects the entries of `dict(…)`: those of a mapping or of pairs, then the named arguments.
    fn dict_of(&mut self, arguments: Arguments, function: &str) -> Outcome<Dict> {
        let Arguments { positional, named } = arguments;
        if positional.len() > 1 {
            refuse!("{function} takes one argument at most, and names");
        }
        let mut dict = Dict::default();
        match positional.first() {
            None => {}
            Some(Value::Dict(source)) => {
                self.spend(source.len() as u64)?;
                for (key, value) in source.iter() {
                    dict.insert(key.clone(), value.clone())?;
                }
            }
            Some(undefined @ Value::Undefined(_)) => return Err(undefined.misused("")),
            Some(pairs) => {
                for pair in self.collected(pairs)? {
                    let mut pair = self.collected(&pair)?;
                    let (Some(value), Some(key), true) = (pair.pop(), pair.pop(), pair.is_empty()) else {
                        refuse!("{function} takes pairs of a key and a value");
                    };
                    dict.insert(key, value)?;
                }
            }
        }
        for (name, value) in named {
            dict.insert(Value::Text(name), value)?;
        }
        Ok(dict)
    }
}

fn range(arguments: Arguments) -> Outcome<Value> {
    let [first, second, step] = arguments.positional("range")?;
    let first = integer(&required(first, "range")?, "range")?;
    let second = second.map(|value| integer(&value, "range")).transpose()?;
    let step = step.map(|value| integer(&value, "range")).transpose()?.unwrap_or(1);
    if step == 0 {
        refuse!("range with a step of zero");
    }
    let range = match second {
        Some(stop) => Range { start: first, stop, step },
        None => Range { start: 0, stop: first, step },
    };
    if range.len() > LONGEST_RANGE {
        refuse!("a range of {} numbers: a template makes ranges of {LONGEST_RANGE} at most", range.len());
    }
    Ok(Value::Range(range))
}

/// The letters of C's strftime that chrono formats in the same way.
const DATE_LETTERS: &str = "aAbBcCdDeFgGhHIjklmMnpPrRsStTuUVwWxXyY%";

/// Formats the local time now, in the notation of C's strftime. `%z` and `%Z` are empty, because Python's `datetime.now()` has no time
/// zone.
fn formatted_now(format: &str) -> Outcome<String> {
    let (mut plain, mut characters) = (String::new(), format.chars().peekable());
    while let Some(character) = characters.next() {
        if character != '%' {
            plain.push(character);
            continue;
        }
        let flag = characters.next_if(|c| matches!(c, '-' | '_' | '0'));
        match characters.next() {
            Some('f') if flag.is_none() => plain.push_str("%6f"),
            Some('z' | 'Z') => {}
            Some(letter) if DATE_LETTERS.contains(letter) => {
                plain.push('%');
                plain.extend(flag);
                plain.push(letter);
            }
            _ => refuse!("strftime_now: {format:?} has a part that is not supported"),
        }
    }
    let mut text = String::new();
    match write!(text, "{}", chrono::Local::now().format(&plain)) {
        Ok(()) => Ok(text),
        Err(_) => refuse!("strftime_now: {format:?} is no format of a date"),
    }
}
