//! Calls: macros and their parameters, functions, and methods.

use super::Interpreter;
use crate::chat_template::jinja::arguments::Arguments;
use crate::chat_template::jinja::dict::Dict;
use crate::chat_template::jinja::fault::{Outcome, refuse};
use crate::chat_template::jinja::limits::MOST_ARGUMENTS;
use crate::chat_template::jinja::syntax::{CallSyntax, Macro};
use crate::chat_template::jinja::value::Value;
use std::rc::Rc;
use std::sync::Arc;

impl Interpreter<'_> {
    /// Evaluates the arguments of a call.
    pub(super) fn arguments(&mut self, call: &CallSyntax) -> Outcome<Arguments> {
        let mut positional = call.positional.iter().map(|value| self.evaluate(value)).collect::<Outcome<Vec<_>>>()?;
        let mut named = Vec::with_capacity(call.named.len());
        for (name, value) in &call.named {
            named.push((name.clone(), self.evaluate(value)?));
        }
        if let Some(more) = &call.more {
            let more = self.evaluate(more)?;
            positional.extend(self.collected(&more)?);
        }
        if let Some(more) = &call.more_named {
            let more = self.evaluate(more)?;
            let Value::Dict(dict) = &more else { return Err(more.misused("after **, where a dict was expected")) };
            if dict.len() > MOST_ARGUMENTS {
                refuse!("a call with more than {MOST_ARGUMENTS} arguments by name");
            }
            for (key, value) in dict.iter() {
                let Some(name) = key.as_text() else { refuse!("an argument whose name is no text") };
                if named.iter().any(|(own, _)| own == name) {
                    refuse!("the argument {name} is given twice");
                }
                named.push((name.clone(), value.clone()));
            }
        }
        Ok(Arguments { positional, named })
    }

    /// Calls `callee`.
    ///
    /// # Errors
    /// If it cannot be called, and its own errors.
    pub fn call(&mut self, callee: &Value, arguments: Arguments) -> Outcome<Value> {
        self.spend(1)?;
        match callee {
            Value::Macro(closure) => self.deeper(|interpreter| interpreter.run_macro(closure, arguments)),
            Value::Loop(state) => self.deeper(|interpreter| interpreter.recurse(state, arguments)),
            Value::Method(method) => self.deeper(|interpreter| interpreter.call_method(method, arguments)),
            Value::Function(function) => self.call_function(*function, arguments),
            Value::Joiner(joiner) => {
                arguments.none("a joiner")?;
                Ok(if joiner.is_used.replace(true) { joiner.separator.clone() } else { Value::text("") })
            }
            other => Err(other.misused("is called: it is no function")),
        }
    }

    /// Assigns the parameters of a macro in the current scope.
    pub(super) fn bind_parameters(&mut self, syntax: &Macro, arguments: Arguments) -> Outcome<()> {
        let called = || syntax.name.as_ref().map_or_else(|| "caller".to_owned(), |name| format!("the macro {name}"));
        let Arguments { positional, mut named } = arguments;
        let count = syntax.parameters.len();
        if positional.len() > count && !syntax.reads_varargs {
            refuse!("{} takes {count} arguments at most, and was given {}", called(), positional.len());
        }
        let mut positional = positional.into_iter();
        let mut given = Vec::with_capacity(count);
        for (name, _) in &syntax.parameters {
            let by_name =
                |named: &mut Vec<(Arc<str>, Value)>| named.iter().position(|(own, _)| own == name).map(|place| named.remove(place).1);
            given.push(positional.next().or_else(|| by_name(&mut named)));
        }
        let is_caller = |name: &Arc<str>| &**name == "caller";
        if syntax.reads_caller && !syntax.parameters.iter().any(|(name, _)| is_caller(name)) {
            let caller = named.iter().position(|(name, _)| is_caller(name)).map(|place| named.remove(place).1);
            let caller = caller.filter(|caller| !matches!(caller, Value::None));
            self.assign(&Arc::from("caller"), caller.unwrap_or_else(|| Value::undefined("No caller defined")));
        }
        if syntax.reads_kwargs {
            let entries = named.into_iter().map(|(name, value)| (Value::Text(name), value)).collect();
            self.assign(&Arc::from("kwargs"), Value::Dict(Rc::new(Dict::new(entries)?)));
        } else if let Some((name, _)) = named.first() {
            refuse!("{} has no parameter called {name}, or was given it twice", called());
        }
        if syntax.reads_varargs {
            self.assign(&Arc::from("varargs"), Value::tuple(positional.collect())?);
        }
        self.assign_parameters(syntax, given)
    }

    fn assign_parameters(&mut self, syntax: &Macro, given: Vec<Option<Value>>) -> Outcome<()> {
        for ((name, default), given) in syntax.parameters.iter().zip(given) {
            let value = match (given, default) {
                (Some(value), _) => value,
                (None, Some(default)) => self.evaluate(default)?,
                (None, None) => Value::undefined(format!("parameter {name:?} was not provided")),
            };
            self.assign(name, value);
        }
        Ok(())
    }
}
