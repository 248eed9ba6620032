//! Filters that return generators: `map`, `select` and similar ones.

use crate::chat_template::jinja::arguments::Arguments;
use crate::chat_template::jinja::attributes::path;
use crate::chat_template::jinja::fault::{Outcome, refuse};
use crate::chat_template::jinja::iteration::{Generator, Step};
use crate::chat_template::jinja::value::Value;
use std::sync::Arc;

/// Makes the generator of a filter. An error in its arguments shows when the first item is asked for.
pub fn filtered(name: &str, value: Value, arguments: Arguments) -> Outcome<Value> {
    if name == "unique" {
        let [case_sensitive, attribute] = arguments.bind(name, ["case_sensitive", "attribute"])?;
        let is_case_sensitive = case_sensitive.is_some_and(|flag| flag.is_true());
        return Generator::over(value, Step::Unique { path: path(attribute.as_ref()), is_case_sensitive });
    }
    let step = match name {
        "map" => map(arguments),
        _ => keep(name, arguments),
    };
    Generator::over(value, step.unwrap_or_else(|fault| Step::Fail(fault.words().to_owned())))
}

fn map(mut arguments: Arguments) -> Outcome<Step> {
    let attribute = arguments.named.iter().position(|(name, _)| &**name == "attribute").filter(|_| arguments.positional.is_empty());
    if let Some(place) = attribute {
        let (_, attribute) = arguments.named.remove(place);
        let [default] = arguments.bind("map", ["default"])?;
        return Ok(Step::Attribute(path(Some(&attribute)), default.filter(|default| !matches!(default, Value::None))));
    }
    Ok(match named(&mut arguments, 0)? {
        Some(name) => Step::Filter(name, arguments),
        None => refuse!("map takes a filter, or an attribute by name"),
    })
}

fn keep(name: &str, mut arguments: Arguments) -> Outcome<Step> {
    let path = match name.ends_with("attr") {
        true if arguments.positional.is_empty() => refuse!("{name} lacks the name of an attribute"),
        true => path(Some(&arguments.positional.remove(0))),
        false => Vec::new(),
    };
    let test = named(&mut arguments, 0)?.map(|name| (name, arguments));
    Ok(Step::Keep { path, test, wanted: name.starts_with("select") })
}

/// Removes the name of a filter or a test from position `place` of the arguments.
fn named(arguments: &mut Arguments, place: usize) -> Outcome<Option<Arc<str>>> {
    if arguments.positional.len() <= place {
        return Ok(None);
    }
    let name = arguments.positional.remove(place);
    match name.as_text() {
        Some(name) => Ok(Some(name.clone())),
        None => Err(name.misused("as the name of a filter or a test")),
    }
}
