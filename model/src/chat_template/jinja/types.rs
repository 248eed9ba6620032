//! The types of values. They are in one file because they hold each other: a dict holds values, a generator holds the arguments of its
//! filter. Their functions are in [`super::value`], [`super::dict`], [`super::arguments`], [`super::iteration`] and the loops of the
//! interpreter.

use super::syntax::{For, Macro};
use indexmap::IndexMap;
use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::rc::Rc;
use std::sync::Arc;

/// A value of a template.
#[derive(Clone)]
pub enum Value {
    Undefined(Rc<Undefined>),
    None,
    Bool(bool),
    Integer(i128),
    Float(f64),
    Text(Arc<str>),
    /// A text that counts as HTML. Text that is added to it is escaped first.
    Markup(Arc<str>),
    List(Rc<Items>),
    Tuple(Rc<Items>),
    Dict(Rc<Dict>),
    Range(Range),
    /// `keys()`, `values()` or `items()` of a dict.
    View(Rc<Dict>, View),
    /// The result of filters such as `map`. It can be iterated over once.
    Generator(Rc<Generator>),
    /// The index of a namespace in the interpreter. The interpreter owns the namespaces, so that reference cycles do no harm.
    Namespace(usize),
    Loop(Rc<LoopState>),
    Macro(Rc<Closure>),
    Cycler(Rc<Cycler>),
    Joiner(Rc<Joiner>),
    Function(Function),
    Method(Rc<Method>),
}

/// The reason why a value is undefined.
pub struct Undefined {
    /// The message for using the value.
    pub words: String,
}

/// The items of a list or a tuple.
pub struct Items {
    pub values: Vec<Value>,
    /// Levels of values within.
    pub depth: u32,
    /// True for the pairs of `groupby`, whose parts have names.
    pub is_group: bool,
}

/// Python's `range`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Range {
    pub start: i128,
    pub stop: i128,
    pub step: i128,
}

/// The part of a dict that a view shows.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum View {
    Keys,
    Values,
    Items,
}

/// A macro with the variables around it.
pub struct Closure {
    pub syntax: Arc<Macro>,
    /// The scope in which the macro was defined.
    pub scope: usize,
}

/// jinja2's `cycler`.
pub struct Cycler {
    pub items: Rc<Items>,
    pub place: Cell<usize>,
}

/// jinja2's `joiner`.
pub struct Joiner {
    pub separator: Value,
    pub is_used: Cell<bool>,
}

/// A function that is defined in every template.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Function {
    Range,
    Dict,
    Namespace,
    Cycler,
    Joiner,
    Lipsum,
    RaiseException,
    StrftimeNow,
}

/// A method of a value.
pub struct Method {
    pub of: Value,
    pub name: &'static str,
}

/// A key in the form that Python compares: 1, 1.0 and True are the same.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Key {
    None,
    Undefined,
    Integer(i128),
    /// The bits of a number that is not whole.
    Float(u64),
    Text(Arc<str>),
    Tuple(Vec<Key>),
    /// A value that is equal only to itself.
    Object(usize),
}

/// A dict.
#[derive(Default)]
pub struct Dict {
    pub entries: IndexMap<Key, (Value, Value)>,
    /// Levels of values within.
    pub depth: u32,
}

/// Positional and named arguments of a function, a method or a filter.
#[derive(Clone, Default)]
pub struct Arguments {
    pub positional: Vec<Value>,
    pub named: Vec<(Arc<str>, Value)>,
}

/// The path to a value within another value: the parts of "a.b.0".
pub type Path = Vec<Value>;

/// A position in an iteration.
pub enum Cursor {
    Items(Rc<Items>, usize),
    /// Iterates from the end. The number is how many items are left.
    Reversed(Rc<Items>, usize),
    Characters(Arc<str>, usize),
    Entries(Rc<Dict>, View, usize),
    Range(Range, i128),
    Shared(Rc<Generator>),
}

/// The work of a generator on each item of its input.
pub enum Step {
    /// Gives each item unchanged.
    Plain,
    /// Gives each item with a filter applied.
    Filter(Arc<str>, Arguments),
    /// Gives the value at a path within each item, and `default` if that value is undefined.
    Attribute(Path, Option<Value>),
    /// Gives the items that pass a test.
    Keep { path: Path, test: Option<(Arc<str>, Arguments)>, wanted: bool },
    /// Gives the items whose key has not occurred before.
    Unique { path: Path, is_case_sensitive: bool },
    /// Gives lists of `size` items.
    Batch { size: i128, fill: Option<Value> },
    /// Fails when the first item is asked for.
    Fail(String),
}

/// A generator of Python.
pub struct Generator {
    pub input: Value,
    pub step: Step,
    pub state: RefCell<GeneratorState>,
    /// Levels of values within.
    pub depth: u32,
}

/// The progress of a generator.
#[derive(Default)]
pub struct GeneratorState {
    pub cursor: Option<Cursor>,
    pub is_done: bool,
    /// The keys that have occurred, if each is given once.
    pub seen: HashSet<Key>,
}

/// A running loop.
pub struct LoopState {
    pub syntax: Arc<For>,
    /// The scope around the loop.
    pub scope: usize,
    /// The depth of a recursive loop, from 0.
    pub depth0: i128,
    pub index0: Cell<i128>,
    pub length: Cell<Option<i128>>,
    pub items: RefCell<LoopItems>,
    /// Levels of values within.
    pub depth: u32,
}

/// The items of a running loop.
pub struct LoopItems {
    pub cursor: Cursor,
    pub before: Option<Value>,
    pub current: Option<Value>,
    /// The item after the current one, if it was read in advance. The inner value is `None` at the end.
    pub after: Option<Option<Value>>,
    /// Items that were read in advance to count them.
    pub counted: Option<std::vec::IntoIter<Value>>,
    pub changed: Option<Vec<Value>>,
}
