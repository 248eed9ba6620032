//! `str.maketrans` and `str.translate`.

use crate::chat_template::jinja::arguments::{Arguments, required, text as text_argument};
use crate::chat_template::jinja::dict::Dict;
use crate::chat_template::jinja::fault::{Outcome, refuse};
use crate::chat_template::jinja::limits;
use crate::chat_template::jinja::value::Value;
use std::rc::Rc;

fn code(character: char) -> Value {
    Value::Integer(i128::from(u32::from(character)))
}

/// Applies the method `maketrans`. The result is a dict whose keys are the code points of characters.
pub fn table(arguments: Arguments) -> Outcome<Value> {
    let [first, second, removed] = arguments.positional("maketrans")?;
    let first = required(first, "maketrans")?;
    let mut table = Dict::default();
    match (&first, second) {
        (Value::Dict(source), None) => {
            for (key, value) in source.iter() {
                table.insert(key_of(key)?, value.clone())?;
            }
        }
        (_, None) => refuse!("maketrans takes a dict, or two texts"),
        (_, Some(second)) => {
            let (from, to) = (text_argument(&first, "maketrans")?, text_argument(&second, "maketrans")?);
            if from.chars().count() != to.chars().count() {
                refuse!("maketrans takes two texts of one length");
            }
            for (from, to) in from.chars().zip(to.chars()) {
                table.insert(code(from), code(to))?;
            }
        }
    }
    if let Some(removed) = removed {
        for character in text_argument(&removed, "maketrans")?.chars() {
            table.insert(code(character), Value::None)?;
        }
    }
    Ok(Value::Dict(Rc::new(table)))
}

fn key_of(key: &Value) -> Outcome<Value> {
    match key {
        Value::Integer(_) | Value::Bool(_) => Ok(key.clone()),
        _ => {
            let mut characters = text_argument(key, "maketrans")?.chars();
            match (characters.next(), characters.next()) {
                (Some(only), None) => Ok(code(only)),
                _ => refuse!("maketrans takes keys of one character"),
            }
        }
    }
}

/// Applies the method `translate`.
pub fn translated(text: &str, arguments: Arguments) -> Outcome<String> {
    let [table] = arguments.positional("translate")?;
    let table = required(table, "translate")?;
    let Value::Dict(table) = &table else { refuse!("translate takes a dict here, no other table") };
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match table.get(&code(character)) {
            None => out.push(character),
            Some(Value::None) => {}
            Some(value) => match (value.as_text(), value.as_integer()) {
                (Some(text), _) => out.push_str(text),
                (None, Some(code)) => match u32::try_from(code).ok().and_then(char::from_u32) {
                    Some(character) => out.push(character),
                    None => refuse!("translate: {code} is no character"),
                },
                (None, None) => return Err(value.misused("in a table of translate")),
            },
        }
        limits::check_text(out.len() as u128)?;
    }
    Ok(out)
}
