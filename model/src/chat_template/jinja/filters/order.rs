//! Filters that compare items with each other.

use crate::chat_template::jinja::arguments::{Arguments, required, switch};
use crate::chat_template::jinja::attributes::path;
use crate::chat_template::jinja::fault::{Outcome, refuse};
use crate::chat_template::jinja::interpreter::Interpreter;
use crate::chat_template::jinja::syntax::Comparison;
use crate::chat_template::jinja::types::Path;
use crate::chat_template::jinja::value::Value;
use std::cmp::Ordering;

fn is_on(flag: Option<Value>) -> bool {
    flag.is_some_and(|flag| flag.is_true())
}

impl Interpreter<'_> {
    pub(super) fn order_filter(&mut self, name: &str, value: &Value, arguments: Arguments) -> Outcome<Value> {
        match name {
            "sort" => self.sort(value, arguments),
            "dictsort" => self.dictsort(value, arguments),
            "groupby" => self.groupby(value, arguments),
            _ => self.extreme(value, if name == "max" { Comparison::Greater } else { Comparison::Less }, arguments),
        }
    }

    fn key(&mut self, item: &Value, path: &Path, is_case_sensitive: bool, default: Option<&Value>) -> Outcome<Value> {
        let key = self.at_path(item, path, default)?;
        Ok(if is_case_sensitive { key } else { key.without_case() })
    }

    fn sort(&mut self, value: &Value, arguments: Arguments) -> Outcome<Value> {
        let [reverse, case_sensitive, attribute] = arguments.bind("sort", ["reverse", "case_sensitive", "attribute"])?;
        let paths: Vec<Path> = match attribute.as_ref().and_then(Value::as_text) {
            Some(text) => text.split(',').map(|part| path(Some(&Value::text(part)))).collect(),
            None => vec![path(attribute.as_ref())],
        };
        let is_case_sensitive = is_on(case_sensitive);
        let items = self.collected(value)?;
        let mut keys = Vec::with_capacity(items.len());
        for item in &items {
            let parts = paths.iter().map(|path| self.key(item, path, is_case_sensitive, None)).collect::<Outcome<Vec<_>>>()?;
            keys.push(Value::list(parts)?);
        }
        let order = self.sorted_places(keys, switch(reverse, "sort")?)?;
        Value::list(order.into_iter().map(|place| items[place].clone()).collect())
    }

    fn dictsort(&mut self, value: &Value, arguments: Arguments) -> Outcome<Value> {
        let [case_sensitive, by, reverse] = arguments.bind("dictsort", ["case_sensitive", "by", "reverse"])?;
        let by = by.unwrap_or_else(|| Value::text("key"));
        let by_value = match by.as_text().map(|text| &**text) {
            Some("key") => false,
            Some("value") => true,
            _ => refuse!("dictsort sorts by \"key\" or \"value\""),
        };
        let Value::Dict(dict) = value else { return Err(value.misused("where dictsort takes a dict")) };
        let is_case_sensitive = is_on(case_sensitive);
        let key = |(key, value): (&Value, &Value)| {
            let key = if by_value { value } else { key }.clone();
            if is_case_sensitive { key } else { key.without_case() }
        };
        let order = self.sorted_places(dict.iter().map(key).collect(), switch(reverse, "dictsort")?)?;
        let pair = |place: usize| match dict.entry(place) {
            Some((key, value)) => Value::tuple(vec![key.clone(), value.clone()]),
            None => Ok(Value::None),
        };
        Value::list(order.into_iter().map(pair).collect::<Outcome<_>>()?)
    }

    fn groupby(&mut self, value: &Value, arguments: Arguments) -> Outcome<Value> {
        let [attribute, default, case_sensitive] = arguments.bind("groupby", ["attribute", "default", "case_sensitive"])?;
        let path = path(Some(&required(attribute, "groupby")?));
        let default = default.filter(|default| !matches!(default, Value::None));
        let is_case_sensitive = is_on(case_sensitive);
        let items = self.collected(value)?;
        let mut keys = Vec::with_capacity(items.len());
        for item in &items {
            keys.push(self.key(item, &path, is_case_sensitive, default.as_ref())?);
        }
        let mut groups: Vec<(usize, Vec<Value>)> = Vec::new();
        for place in self.sorted_places(keys.clone(), false)? {
            let belongs = match groups.last() {
                Some((first, _)) => self.equal(&keys[*first], &keys[place])?,
                None => false,
            };
            match groups.last_mut().filter(|_| belongs) {
                Some((_, members)) => members.push(items[place].clone()),
                None => groups.push((place, vec![items[place].clone()])),
            }
        }
        let mut out = Vec::with_capacity(groups.len());
        for (first, members) in groups {
            // The key of the first member, with its case kept.
            let key = self.key(&items[first], &path, true, default.as_ref())?;
            out.push(Value::group(key, Value::list(members)?)?);
        }
        Value::list(out)
    }

    fn extreme(&mut self, value: &Value, wanted: Comparison, arguments: Arguments) -> Outcome<Value> {
        let [case_sensitive, attribute] = arguments.bind("min or max", ["case_sensitive", "attribute"])?;
        let (path, is_case_sensitive) = (path(attribute.as_ref()), is_on(case_sensitive));
        let mut cursor = self.iterate(value)?;
        let mut best: Option<(Value, Value)> = None;
        while let Some(item) = self.next_of(&mut cursor)? {
            let key = self.key(&item, &path, is_case_sensitive, None)?;
            let is_better = match &best {
                Some((_, old)) => self.compared(wanted, &key, old)?,
                None => true,
            };
            if is_better {
                best = Some((item, key));
            }
        }
        Ok(best.map_or_else(|| Value::undefined("No aggregated item, sequence was empty."), |(item, _)| item))
    }

    /// Sorts `keys` like Python's `sorted` and returns their indices. Equal keys keep their order.
    ///
    /// # Errors
    /// If two keys have no order.
    pub fn sorted_places(&mut self, keys: Vec<Value>, is_reversed: bool) -> Outcome<Vec<usize>> {
        let mut places: Vec<usize> = (0..keys.len()).collect();
        let mut width = 1;
        while width < places.len() {
            let mut merged = Vec::with_capacity(places.len());
            for run in places.chunks(2 * width) {
                let (left, right) = run.split_at(width.min(run.len()));
                self.merge(&keys, left, right, is_reversed, &mut merged)?;
            }
            places = merged;
            width *= 2;
        }
        Ok(places)
    }

    fn merge(&mut self, keys: &[Value], left: &[usize], right: &[usize], is_reversed: bool, out: &mut Vec<usize>) -> Outcome<()> {
        let (mut left, mut right) = (left, right);
        while let (Some(&a), Some(&b)) = (left.first(), right.first()) {
            let Some(order) = self.order(&keys[a], &keys[b])? else { refuse!("a sort of numbers of which one is nan") };
            let takes_right = order == if is_reversed { Ordering::Less } else { Ordering::Greater };
            let side = if takes_right { &mut right } else { &mut left };
            out.push(side[0]);
            *side = &side[1..];
        }
        out.extend_from_slice(left);
        out.extend_from_slice(right);
        Ok(())
    }
}
