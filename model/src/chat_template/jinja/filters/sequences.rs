//! Filters of lists and of other values that can be iterated over.

use crate::chat_template::jinja::arguments::{Arguments, integer, required};
use crate::chat_template::jinja::attributes::path;
use crate::chat_template::jinja::fault::{Outcome, refuse};
use crate::chat_template::jinja::interpreter::Interpreter;
use crate::chat_template::jinja::iteration::{Cursor, Generator, Step};
use crate::chat_template::jinja::limits;
use crate::chat_template::jinja::methods::like;
use crate::chat_template::jinja::syntax::Arithmetic;
use crate::chat_template::jinja::value::{Items, Value, View};
use std::rc::Rc;

impl Interpreter<'_> {
    pub(super) fn sequence_filter(&mut self, name: &str, value: Value, arguments: Arguments) -> Outcome<Value> {
        match name {
            "batch" => {
                let [size, fill] = arguments.bind(name, ["linecount", "fill_with"])?;
                let size = integer(&required(size, name)?, name)?;
                if size == 0 {
                    refuse!("batch of lists of no items");
                }
                let fill = fill.filter(|fill| !matches!(fill, Value::None));
                Generator::over(value, Step::Batch { size, fill })
            }
            "slice" => self.slices(&value, arguments),
            "sum" => self.sum(&value, arguments),
            _ => {
                arguments.none(name)?;
                self.plain_filter(name, value)
            }
        }
    }

    fn plain_filter(&mut self, name: &str, value: Value) -> Outcome<Value> {
        match name {
            "count" | "length" => match value {
                Value::Loop(state) => self.loop_length(&state).map(Value::Integer),
                other => {
                    self.spend_on_value(&other)?;
                    other.len().map(|length| Value::Integer(length as i128)).ok_or_else(|| other.misused("has no length"))
                }
            },
            "first" => {
                let mut cursor = self.iterate(&value)?;
                let first = self.next_of(&mut cursor)?;
                Ok(first.unwrap_or_else(|| Value::undefined("No first item, sequence was empty.")))
            }
            "last" => {
                let Some(mut cursor) = self.cursor_at_end(&value)? else { return Err(value.misused("has no last item")) };
                let last = self.next_of(&mut cursor)?;
                Ok(last.unwrap_or_else(|| Value::undefined("No last item, sequence was empty.")))
            }
            "items" => match &value {
                Value::Undefined(_) => Generator::over(value, Step::Plain),
                Value::Dict(dict) => Generator::over(Value::View(dict.clone(), View::Items), Step::Plain),
                _ => Generator::over(Value::Bool(true), Step::Fail("items takes a mapping".to_owned())),
            },
            "list" => {
                let items = self.collected(&value)?;
                Value::list(items)
            }
            _ => self.reversed(value),
        }
    }

    /// Iterates over the items from the end. Returns `None` if Python cannot reverse the value.
    fn cursor_at_end(&mut self, value: &Value) -> Outcome<Option<Cursor>> {
        let items = match value {
            Value::List(items) | Value::Tuple(items) => items.clone(),
            Value::Text(_) | Value::Markup(_) | Value::Dict(_) | Value::View(..) | Value::Range(_) | Value::Undefined(_) => {
                Rc::new(Items::new(self.collected(value)?)?)
            }
            _ => return Ok(None),
        };
        let length = items.values.len();
        Ok(Some(Cursor::Reversed(items, length)))
    }

    fn reversed(&mut self, value: Value) -> Outcome<Value> {
        match &value {
            Value::Text(text) | Value::Markup(text) => Ok(like(&value, text.chars().rev().collect::<String>())),
            Value::Undefined(_) => refuse!("reverse of a value that is undefined"),
            _ => match self.cursor_at_end(&value)? {
                Some(cursor) => Generator::from_cursor(value, cursor),
                None => {
                    let mut items = self.collected(&value)?;
                    items.reverse();
                    Value::list(items)
                }
            },
        }
    }

    fn slices(&mut self, value: &Value, arguments: Arguments) -> Outcome<Value> {
        let [count, fill] = arguments.bind("slice", ["slices", "fill_with"])?;
        let count = integer(&required(count, "slice")?, "slice")?;
        let fill = fill.filter(|fill| !matches!(fill, Value::None));
        let items = self.collected(value)?;
        let Ok(count) = usize::try_from(count) else { return Generator::over(Value::list(Vec::new())?, Step::Plain) };
        if count == 0 {
            return Generator::over(Value::Bool(true), Step::Fail("slice into no parts".to_owned()));
        }
        limits::check_list(count as u128)?;
        self.spend(count as u64)?;
        let (each, longer) = (items.len() / count, items.len() % count);
        let (mut slices, mut start) = (Vec::with_capacity(count), 0);
        for place in 0..count {
            let end = start + each + usize::from(place < longer);
            let mut slice = items[start..end].to_vec();
            slice.extend(fill.clone().filter(|_| place >= longer));
            slices.push(Value::list(slice)?);
            start = end;
        }
        Generator::over(Value::list(slices)?, Step::Plain)
    }

    fn sum(&mut self, value: &Value, arguments: Arguments) -> Outcome<Value> {
        let [attribute, start] = arguments.bind("sum", ["attribute", "start"])?;
        let path = path(attribute.as_ref());
        let mut total = start.unwrap_or(Value::Integer(0));
        if total.as_text().is_some() {
            refuse!("sum of texts: use join");
        }
        let mut cursor = self.iterate(value)?;
        while let Some(item) = self.next_of(&mut cursor)? {
            let item = self.at_path(&item, &path, None)?;
            if matches!(item, Value::Float(_)) && matches!(total, Value::Float(_)) {
                refuse!("sum of several numbers that are no whole ones: Python's result depends on its version");
            }
            total = self.arithmetic(Arithmetic::Add, &total, &item)?;
        }
        Ok(total)
    }
}
