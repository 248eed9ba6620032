//! The interpreter of templates. Statements write text, expressions return values, and every step is counted.

mod calls;
mod expressions;
mod loops;
mod statements;

use super::dict::Dict;
use super::fault::{Fault, Outcome, refuse};
use super::limits::{BYTES_PER_STEP, DEEPEST_CALL, LARGEST_TEXT, MOST_KEPT, STEPS};
use super::syntax::Statement;
use super::value::Value;
use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

/// The variables of one block, and the index of the scope around it.
struct Scope {
    variables: HashMap<Arc<str>, Value>,
    outer: Option<usize>,
    /// True if a macro may still read the scope after its block has ended.
    is_kept: bool,
}

/// A running template.
pub struct Interpreter<'t> {
    statements: &'t [Statement],
    scopes: Vec<Scope>,
    scope: usize,
    namespaces: Vec<Dict>,
    /// The text of the template, then the text of each block within it that is not finished.
    outputs: Vec<String>,
    /// The input texts of the filters at the heads of blocks.
    block_texts: Vec<Value>,
    /// The bytes of the template's text that generation blocks wrote.
    generated: Vec<Range<usize>>,
    steps_left: u64,
    levels: u32,
}

/// The scope of the whole template.
const ROOT: usize = 0;

impl<'t> Interpreter<'t> {
    /// Starts a template with its variables.
    pub fn new(statements: &'t [Statement], variables: Vec<(Arc<str>, Value)>) -> Self {
        Self {
            statements,
            scopes: vec![Scope { variables: variables.into_iter().collect(), outer: None, is_kept: true }],
            scope: ROOT,
            namespaces: Vec::new(),
            outputs: vec![String::new()],
            block_texts: Vec::new(),
            generated: Vec::new(),
            steps_left: STEPS,
            levels: 0,
        }
    }

    /// Runs the template. Returns its text and the bytes of it that generation blocks wrote. Blocks within macros and the like are left
    /// out.
    ///
    /// # Errors
    /// If the template refuses its input, misuses a value, or needs more than its limits allow.
    pub fn run(mut self) -> Outcome<(String, Vec<Range<usize>>)> {
        self.execute(self.statements)?;
        Ok((self.outputs.pop().unwrap_or_default(), self.generated))
    }

    /// Counts `steps` steps.
    ///
    /// # Errors
    /// If the template has used all its steps.
    pub fn spend(&mut self, steps: u64) -> Outcome<()> {
        match self.steps_left.checked_sub(steps) {
            Some(left) => self.steps_left = left,
            None => {
                refuse!("the template takes more than {STEPS} steps (or texts of {} MB in all)", STEPS * BYTES_PER_STEP as u64 / 1_000_000)
            }
        }
        Ok(())
    }

    /// Counts `bytes` bytes of new text.
    ///
    /// # Errors
    /// As [`Interpreter::spend`].
    pub fn spend_on(&mut self, bytes: usize) -> Outcome<()> {
        self.spend((bytes / BYTES_PER_STEP) as u64)
    }

    /// Counts a pass over the text or the items of a value, for its length, its hash or its characters.
    ///
    /// # Errors
    /// As [`Interpreter::spend`].
    pub fn spend_on_value(&mut self, value: &Value) -> Outcome<()> {
        match value {
            Value::Text(text) | Value::Markup(text) => self.spend_on(text.len()),
            Value::Tuple(items) => self.spend(items.values.len() as u64),
            _ => Ok(()),
        }
    }

    /// Refuses to extend a text that is too long.
    ///
    /// # Errors
    /// If the text has more bytes than [`LARGEST_TEXT`].
    pub fn check_growth(&self, text: &str) -> Outcome<()> {
        super::limits::check_text(text.len() as u128)
    }

    /// Wraps a new text as a value, and counts it.
    ///
    /// # Errors
    /// If the text is too long or the template has used all its steps.
    pub fn made_text(&mut self, text: String) -> Outcome<Value> {
        self.check_growth(&text)?;
        self.spend_on(text.len())?;
        Ok(Value::text(text))
    }

    /// Runs `work` one level deeper.
    ///
    /// # Errors
    /// The errors of `work`, or one if there are more levels than [`DEEPEST_CALL`].
    pub fn deeper<T>(&mut self, work: impl FnOnce(&mut Self) -> Outcome<T>) -> Outcome<T> {
        if self.levels >= DEEPEST_CALL {
            refuse!("the template calls itself, or nests values, more than {DEEPEST_CALL} levels deep");
        }
        self.levels += 1;
        let outcome = work(self);
        self.levels -= 1;
        outcome
    }

    /// Returns the variables of the namespace at index `place`.
    pub fn namespace(&self, place: usize) -> &Dict {
        &self.namespaces[place]
    }

    /// Makes a namespace.
    ///
    /// # Errors
    /// If there are more than [`MOST_KEPT`] namespaces.
    pub fn new_namespace(&mut self, entries: Dict) -> Outcome<Value> {
        if self.namespaces.len() >= MOST_KEPT {
            refuse!("the template makes more than {MOST_KEPT} namespaces");
        }
        self.namespaces.push(entries);
        Ok(Value::Namespace(self.namespaces.len() - 1))
    }

    fn write(&mut self, text: &str) -> Outcome<()> {
        self.spend_on(text.len())?;
        let Some(output) = self.outputs.last_mut() else { return Ok(()) };
        if output.len() + text.len() > LARGEST_TEXT {
            refuse!("the template writes more than {LARGEST_TEXT} bytes");
        }
        output.push_str(text);
        Ok(())
    }

    /// Runs `work` in a new scope within `outer`.
    fn in_scope<T>(&mut self, outer: usize, work: impl FnOnce(&mut Self) -> Outcome<T>) -> Outcome<T> {
        if self.scopes.len() >= MOST_KEPT {
            refuse!("the template makes more than {MOST_KEPT} macros within loops");
        }
        let before = std::mem::replace(&mut self.scope, self.scopes.len());
        self.scopes.push(Scope { variables: HashMap::new(), outer: Some(outer), is_kept: false });
        let outcome = work(self);
        if self.scopes.len() == self.scope + 1 && !self.scopes[self.scope].is_kept {
            self.scopes.pop();
        }
        self.scope = before;
        outcome
    }

    /// Marks the current scope and those around it as kept, for a macro that is defined in it.
    fn keep_scope(&mut self) -> usize {
        let mut place = Some(self.scope);
        while let Some(scope) = place.map(|place| &mut self.scopes[place]).filter(|scope| !scope.is_kept) {
            scope.is_kept = true;
            place = scope.outer;
        }
        self.scope
    }

    fn assign(&mut self, name: &Arc<str>, value: Value) {
        self.scopes[self.scope].variables.insert(name.clone(), value);
    }

    fn variable(&self, name: &Arc<str>) -> Option<&Value> {
        let mut place = Some(self.scope);
        while let Some(scope) = place.map(|place| &self.scopes[place]) {
            if let Some(value) = scope.variables.get(name) {
                return Some(value);
            }
            place = scope.outer;
        }
        None
    }

    /// Returns the text that `work` writes, and its result.
    fn captured<T>(&mut self, work: impl FnOnce(&mut Self) -> Outcome<T>) -> Outcome<(String, T)> {
        self.outputs.push(String::new());
        let outcome = work(self);
        let text = self.outputs.pop().unwrap_or_default();
        Ok((text, outcome?))
    }

    /// Assigns an attribute of the namespace that the variable `object` holds.
    fn assign_attribute(&mut self, object: &Arc<str>, name: &Arc<str>, value: Value) -> Outcome<()> {
        let place = match self.variable(object) {
            Some(Value::Namespace(place)) => *place,
            _ => refuse!("{object}.{name} is assigned, and {object} is no namespace"),
        };
        check_attribute_name(name)?;
        self.namespaces[place].insert(Value::Text(name.clone()), value)
    }
}

/// Refuses the names that transformers does not allow in namespaces.
///
/// # Errors
/// If the name begins with an underscore.
pub fn check_attribute_name(name: &str) -> Outcome<()> {
    if name.starts_with('_') {
        return Err(Fault::new(format!("{name:?}: a namespace has no names that begin with an underscore")));
    }
    Ok(())
}
