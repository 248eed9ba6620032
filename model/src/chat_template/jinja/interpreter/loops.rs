//! Loops, and the attributes of `loop`.

use super::Interpreter;
use super::statements::Flow;
use crate::chat_template::jinja::arguments::Arguments;
use crate::chat_template::jinja::fault::{Fault, Outcome, refuse};
use crate::chat_template::jinja::syntax::{For, Target};
use crate::chat_template::jinja::types::{LoopItems, LoopState};
use crate::chat_template::jinja::value::{Value, deeper};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

impl LoopState {
    /// Returns `loop.index`.
    pub fn index(&self) -> i128 {
        self.index0.get() + 1
    }
}

impl Interpreter<'_> {
    pub(super) fn run_loop(&mut self, block: &Arc<For>) -> Outcome<Flow> {
        let items = self.evaluate(&block.items)?;
        let scope = self.scope;
        if !block.is_recursive {
            return self.run_items(block, &items, scope, 0);
        }
        self.keep_scope();
        self.run_items(block, &items, scope, 0)
    }

    fn run_items(&mut self, block: &Arc<For>, items: &Value, scope: usize, depth0: i128) -> Outcome<Flow> {
        let cursor = self.iterate(items)?;
        self.spend_on_value(items)?;
        let length = if block.test.is_none() { items.len().map(|length| length as i128) } else { None };
        let depth = deeper([items].into_iter())?;
        let items = LoopItems { cursor, before: None, current: None, after: None, counted: None, changed: None };
        let state = Rc::new(LoopState {
            syntax: block.clone(),
            scope,
            depth0,
            index0: Cell::new(-1),
            length: Cell::new(length),
            items: RefCell::new(items),
            depth,
        });
        let outcome = self.run_iterations(block, &state, scope);
        state.items.borrow_mut().changed = None;
        outcome
    }

    fn run_iterations(&mut self, block: &Arc<For>, state: &Rc<LoopState>, scope: usize) -> Outcome<Flow> {
        let name: Arc<str> = Arc::from("loop");
        // As in jinja2, "else" runs unless the body reached its end at least once. A "break" or a "continue" does not count.
        let mut is_done = false;
        while let Some(item) = self.advance(state)? {
            let flow = self.in_scope(scope, |interpreter| {
                interpreter.assign(&name, Value::Loop(state.clone()));
                interpreter.assign_to(&block.target, item)?;
                interpreter.execute(&block.body)
            })?;
            if flow == Flow::Break {
                break;
            }
            is_done |= flow == Flow::Next;
        }
        if !is_done {
            return self.in_scope(scope, |interpreter| interpreter.execute(&block.otherwise));
        }
        Ok(Flow::Next)
    }

    fn advance(&mut self, state: &Rc<LoopState>) -> Outcome<Option<Value>> {
        let ahead = state.items.borrow_mut().after.take();
        let item = match ahead {
            Some(item) => item,
            None => self.pull(state)?,
        };
        if let Some(item) = &item {
            let mut items = state.items.borrow_mut();
            items.before = items.current.replace(item.clone());
            state.index0.set(state.index0.get() + 1);
        }
        Ok(item)
    }

    /// Returns the next item that passes the loop's test.
    fn pull(&mut self, state: &Rc<LoopState>) -> Outcome<Option<Value>> {
        loop {
            let mut items = state.items.try_borrow_mut().map_err(|_| Fault::new("a loop's items are asked for within themselves"))?;
            if let Some(counted) = &mut items.counted {
                return Ok(counted.next());
            }
            let Some(item) = self.next_of(&mut items.cursor)? else { return Ok(None) };
            let Some(test) = &state.syntax.test else { return Ok(Some(item)) };
            let passed = self.in_scope(state.scope, |interpreter| {
                interpreter.assign_to(&state.syntax.target, item.clone())?;
                let passes = interpreter.evaluate(test)?.is_true();
                let rebuilt = match &state.syntax.target {
                    Target::Tuple(_) => interpreter.target_value(&state.syntax.target)?,
                    _ => item,
                };
                Ok(passes.then_some(rebuilt))
            })?;
            if passed.is_some() {
                return Ok(passed);
            }
        }
    }

    /// Returns the item after the current one.
    fn peek(&mut self, state: &Rc<LoopState>) -> Outcome<Option<Value>> {
        if let Some(after) = &state.items.borrow().after {
            return Ok(after.clone());
        }
        let after = self.pull(state)?;
        state.items.borrow_mut().after = Some(after.clone());
        Ok(after)
    }

    /// Returns `loop.length`. If the length is not known, the remaining items are read and counted.
    pub fn loop_length(&mut self, state: &Rc<LoopState>) -> Outcome<i128> {
        if let Some(length) = state.length.get() {
            return Ok(length);
        }
        let mut rest = Vec::new();
        while let Some(item) = self.pull(state)? {
            rest.push(item);
        }
        let mut items = state.items.borrow_mut();
        let length = rest.len() as i128 + state.index() + i128::from(items.after.is_some());
        items.counted = Some(rest.into_iter());
        state.length.set(Some(length));
        Ok(length)
    }

    /// Returns an attribute of `loop`, or `None` if it has no attribute of that name.
    pub fn loop_attribute(&mut self, state: &Rc<LoopState>, name: &str) -> Outcome<Option<Value>> {
        let index0 = state.index0.get();
        Ok(Some(match name {
            "index" => Value::Integer(index0 + 1),
            "index0" => Value::Integer(index0),
            "first" => Value::Bool(index0 == 0),
            "last" => Value::Bool(self.peek(state)?.is_none()),
            "length" => Value::Integer(self.loop_length(state)?),
            "revindex" => Value::Integer(self.loop_length(state)? - index0),
            "revindex0" => Value::Integer(self.loop_length(state)? - index0 - 1),
            "depth" => Value::Integer(state.depth0 + 1),
            "depth0" => Value::Integer(state.depth0),
            "previtem" => match (index0, &state.items.borrow().before) {
                (1.., Some(before)) => before.clone(),
                _ => Value::undefined("there is no previous item"),
            },
            "nextitem" => self.peek(state)?.unwrap_or_else(|| Value::undefined("there is no next item")),
            _ => return Ok(None),
        }))
    }

    /// Computes `loop.cycle(…)`.
    pub fn loop_cycle(state: &LoopState, arguments: Arguments) -> Outcome<Value> {
        if arguments.positional.is_empty() || !arguments.named.is_empty() {
            refuse!("loop.cycle takes one value at least, none by name");
        }
        let place = state.index0.get().rem_euclid(arguments.positional.len() as i128);
        Ok(arguments.positional[place as usize].clone())
    }

    /// Computes `loop.changed(…)`.
    pub fn loop_changed(&mut self, state: &LoopState, arguments: Arguments) -> Outcome<Value> {
        if !arguments.named.is_empty() {
            refuse!("loop.changed takes no values by name");
        }
        let before = state.items.borrow_mut().changed.take();
        let is_same = match before {
            Some(before) => self.equal_items(&before, &arguments.positional)?,
            None => false,
        };
        state.items.borrow_mut().changed = Some(arguments.positional);
        Ok(Value::Bool(!is_same))
    }

    /// Computes `loop(items)`: runs the body again, one level deeper.
    pub(super) fn recurse(&mut self, state: &Rc<LoopState>, arguments: Arguments) -> Outcome<Value> {
        if !state.syntax.is_recursive {
            refuse!("loop(…) in a loop that is not marked as recursive");
        }
        let [items] = arguments.bind("loop", ["iterable"])?;
        let Some(items) = items else { refuse!("loop(…) without items") };
        let (text, _) = self.captured(|interpreter| interpreter.run_items(&state.syntax, &items, state.scope, state.depth0 + 1))?;
        self.made_text(text)
    }
}
