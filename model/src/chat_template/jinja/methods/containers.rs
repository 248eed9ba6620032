//! Methods of lists, tuples, dicts, ranges and numbers.

use crate::chat_template::jinja::arguments::{Arguments, required};
use crate::chat_template::jinja::dict::{Dict, hashed};
use crate::chat_template::jinja::fault::{Outcome, refuse};
use crate::chat_template::jinja::interpreter::Interpreter;
use crate::chat_template::jinja::value::{Function, Range, Value, View};
use std::rc::Rc;

impl Interpreter<'_> {
    pub(super) fn container_method(&mut self, of: &Value, name: &str, arguments: Arguments) -> Outcome<Value> {
        match of {
            Value::Dict(dict) => self.dict_method(dict, name, arguments),
            Value::Function(Function::Dict) => self.dict_of_keys(arguments),
            Value::List(items) if name == "copy" => {
                arguments.none(name)?;
                self.spend(items.values.len() as u64)?;
                Value::list(items.values.clone())
            }
            Value::List(_) | Value::Tuple(_) | Value::Range(_) => self.sequence_method(of, name, arguments),
            Value::Bool(_) | Value::Integer(_) | Value::Float(_) => number_method(of, name, arguments),
            _ => refuse!("the method {name} of a value of type {} is not supported", of.type_name()),
        }
    }

    fn dict_method(&mut self, dict: &Rc<Dict>, name: &str, arguments: Arguments) -> Outcome<Value> {
        let view = match name {
            "get" => {
                let [key, default] = arguments.positional(name)?;
                let key = required(key, name)?;
                self.spend_on_value(&key)?;
                hashed(&key)?;
                return Ok(dict.get(&key).cloned().unwrap_or_else(|| default.unwrap_or(Value::None)));
            }
            "fromkeys" => return self.dict_of_keys(arguments),
            "copy" => {
                arguments.none(name)?;
                self.spend(dict.len() as u64)?;
                let entries = dict.iter().map(|(key, value)| (key.clone(), value.clone())).collect();
                return Ok(Value::Dict(Rc::new(Dict::new(entries)?)));
            }
            "keys" => View::Keys,
            "values" => View::Values,
            _ => View::Items,
        };
        arguments.none(name)?;
        Ok(Value::View(dict.clone(), view))
    }

    fn dict_of_keys(&mut self, arguments: Arguments) -> Outcome<Value> {
        let [keys, value] = arguments.positional("fromkeys")?;
        let keys = required(keys, "fromkeys")?;
        let value = value.unwrap_or(Value::None);
        let entries = self.collected(&keys)?.into_iter().map(|key| (key, value.clone())).collect();
        Ok(Value::Dict(Rc::new(Dict::new(entries)?)))
    }

    fn sequence_method(&mut self, of: &Value, name: &str, arguments: Arguments) -> Outcome<Value> {
        let items = self.collected(of)?;
        let [wanted, start, stop] = arguments.positional(name)?;
        let wanted = required(wanted, name)?;
        let has_bounds = start.is_some() || stop.is_some();
        if has_bounds && (name == "count" || matches!(of, Value::Range(_))) {
            refuse!("{name} takes one argument");
        }
        if [&start, &stop].iter().any(|bound| matches!(bound, Some(Value::None))) {
            refuse!("{name} takes whole numbers as bounds");
        }
        let bounds = Range::of_slice(&[start, stop, None], items.len() as i128)?;
        let mut count = 0;
        for place in bounds.start.max(0)..bounds.stop {
            if self.equal(&items[place as usize], &wanted)? {
                if name == "index" {
                    return Ok(Value::Integer(place));
                }
                count += 1;
            }
        }
        if name == "index" {
            refuse!("index: the value is not in the {}", of.type_name());
        }
        Ok(Value::Integer(count))
    }
}

fn number_method(of: &Value, name: &str, arguments: Arguments) -> Outcome<Value> {
    match (of, name) {
        (_, "to_bytes" | "from_bytes" | "hex" | "fromhex" | "as_integer_ratio") => {}
        _ => arguments.none(name)?,
    }
    match (of, of.as_integer(), name) {
        (_, Some(whole), "bit_length") => Ok(Value::Integer(i128::from(128 - whole.unsigned_abs().leading_zeros()))),
        (_, Some(whole), "bit_count") => Ok(Value::Integer(i128::from(whole.unsigned_abs().count_ones()))),
        (_, Some(whole), "conjugate") => Ok(Value::Integer(whole)),
        (Value::Float(float), _, "conjugate") => Ok(Value::Float(*float)),
        (Value::Float(float), _, "is_integer") => Ok(Value::Bool(float.is_finite() && float.fract() == 0.0)),
        _ => refuse!("the method {name} of a value of type {} is not supported", of.type_name()),
    }
}
