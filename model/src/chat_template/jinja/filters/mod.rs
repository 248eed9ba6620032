//! jinja2's filters, with `tojson` as transformers defines it.

mod html;
mod numbers;
mod order;
mod select;
mod sequences;
mod texts;
mod wrap;

pub use html::escaped;

use super::arguments::{Arguments, required, text};
use super::fault::{Outcome, refuse};
use super::interpreter::Interpreter;
use super::value::Value;

/// The names of all filters. The last ones are known, but refused.
const NAMES: [&str; 54] = [
    "abs",
    "attr",
    "batch",
    "capitalize",
    "center",
    "count",
    "d",
    "default",
    "dictsort",
    "e",
    "escape",
    "filesizeformat",
    "first",
    "float",
    "forceescape",
    "format",
    "groupby",
    "indent",
    "int",
    "items",
    "join",
    "last",
    "length",
    "list",
    "lower",
    "map",
    "max",
    "min",
    "pprint",
    "reject",
    "rejectattr",
    "replace",
    "reverse",
    "round",
    "safe",
    "select",
    "selectattr",
    "slice",
    "sort",
    "string",
    "striptags",
    "sum",
    "title",
    "tojson",
    "trim",
    "truncate",
    "unique",
    "upper",
    "urlencode",
    "wordcount",
    "wordwrap",
    "xmlattr",
    "random",
    "urlize",
];

/// True if there is a filter called `name`.
pub fn is_known(name: &str) -> bool {
    NAMES.contains(&name)
}

impl Interpreter<'_> {
    /// Applies the filter `name` to `value`.
    ///
    /// # Errors
    /// If there is no such filter, or it does not accept the value or the arguments.
    pub fn filtered(&mut self, name: &str, value: Value, arguments: Arguments) -> Outcome<Value> {
        self.spend(1)?;
        match name {
            "abs" | "filesizeformat" | "float" | "int" | "round" => self.number_filter(name, &value, arguments),
            "capitalize" | "lower" | "title" | "upper" | "trim" | "center" | "indent" | "truncate" | "replace" | "wordcount"
            | "wordwrap" | "string" | "format" | "join" => self.text_filter(name, &value, arguments),
            "e" | "escape" | "forceescape" | "safe" | "striptags" | "urlencode" | "xmlattr" => self.html_filter(name, &value, arguments),
            "batch" | "count" | "first" | "items" | "last" | "length" | "list" | "reverse" | "slice" | "sum" => {
                self.sequence_filter(name, value, arguments)
            }
            "map" | "select" | "reject" | "selectattr" | "rejectattr" | "unique" => select::filtered(name, value, arguments),
            "dictsort" | "groupby" | "max" | "min" | "sort" => self.order_filter(name, &value, arguments),
            "attr" => {
                let [name] = arguments.bind("attr", ["name"])?;
                let name = required(name, "attr")?;
                self.only_attribute(&value, text(&name, "attr")?)
            }
            "d" | "default" => {
                let [default, takes_false] = arguments.bind(name, ["default_value", "boolean"])?;
                let takes_false = takes_false.is_some_and(|value| value.is_true());
                let is_missing = value.is_undefined() || (takes_false && !value.is_true());
                Ok(if is_missing { default.unwrap_or_else(|| Value::text("")) } else { value })
            }
            "pprint" => {
                arguments.none(name)?;
                self.pretty(&value)
            }
            "tojson" => self.dumped_json(&value, arguments),
            "random" => refuse!("the filter random is not supported: a template gives the same text each time"),
            "urlize" => refuse!("the filter urlize is not supported: chat templates write text, not HTML"),
            other => refuse!("there is no filter called {other:?}"),
        }
    }

    /// Applies the filter `pprint` to a value that fits on one line.
    fn pretty(&mut self, value: &Value) -> Outcome<Value> {
        let has_dict = matches!(value, Value::Dict(dict) if dict.len() > 1);
        let line = self.repr(value)?;
        // Python sorts the keys and breaks lines of 80 characters.
        if has_dict || line.contains('{') || line.chars().count() > 80 || line.contains("\\n") {
            refuse!("the filter pprint is not supported for dicts and for what takes more than a line");
        }
        self.made_text(line)
    }
}
