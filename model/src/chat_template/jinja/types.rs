//! The types of values. They hold each other (a dict holds values, a generator holds the arguments of its filter), so they stand in one
//! file. What is done with them is in [`super::value`], [`super::dict`], [`super::arguments`], [`super::iteration`] and the loops of the
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
    /// A text that counts as HTML: what is joined to it is escaped.
    Markup(Arc<str>),
    List(Rc<Items>),
    Tuple(Rc<Items>),
    Dict(Rc<Dict>),
    Range(Range),
    /// `keys()`, `values()` or `items()` of a dict.
    View(Rc<Dict>, View),
    /// What filters such as `map` give: it can be gone through once.
    Generator(Rc<Generator>),
    /// The place of a namespace in the interpreter, which keeps them so that cycles do no harm.
    Namespace(usize),
    Loop(Rc<LoopState>),
    Macro(Rc<Closure>),
    Cycler(Rc<Cycler>),
    Joiner(Rc<Joiner>),
    Function(Function),
    Method(Rc<Method>),
}

/// Why a value is undefined.
pub struct Undefined {
    /// What is said where it is used.
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

/// What a view shows of a dict.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum View {
    Keys,
    Values,
    Items,
}

/// A macro with the variables around it.
pub struct Closure {
    pub syntax: Arc<Macro>,
    /// The scope that the macro was made in.
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

/// A function that every template knows.
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

/// What Python compares of a key: 1, 1.0 and True are the same.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Key {
    None,
    Undefined,
    Integer(i128),
    /// The bits of a number that is no whole one.
    Float(u64),
    Text(Arc<str>),
    Tuple(Vec<Key>),
    /// What is only equal to itself.
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

/// Where something lies within a value: the parts of "a.b.0".
pub type Path = Vec<Value>;

/// A place within something that is gone through.
pub enum Cursor {
    Items(Rc<Items>, usize),
    /// From the end; the place is how many items are left.
    Reversed(Rc<Items>, usize),
    Characters(Arc<str>, usize),
    Entries(Rc<Dict>, View, usize),
    Range(Range, i128),
    Shared(Rc<Generator>),
}

/// What a generator does with the items of what it goes through.
pub enum Step {
    /// Gives each as it is.
    Plain,
    /// Gives each with a filter applied.
    Filter(Arc<str>, Arguments),
    /// Gives what lies at a path within each, and `default` where that is undefined.
    Attribute(Path, Option<Value>),
    /// Gives those that pass a test.
    Keep { path: Path, test: Option<(Arc<str>, Arguments)>, wanted: bool },
    /// Gives those whose key has not come yet.
    Unique { path: Path, is_case_sensitive: bool },
    /// Gives lists of so many.
    Batch { size: i128, fill: Option<Value> },
    /// Fails once an item is asked for.
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

/// How far a generator has come.
#[derive(Default)]
pub struct GeneratorState {
    pub cursor: Option<Cursor>,
    pub is_done: bool,
    /// The keys that have come, where each is given once.
    pub seen: HashSet<Key>,
}

/// A loop that runs.
pub struct LoopState {
    pub syntax: Arc<For>,
    /// The scope around the loop.
    pub scope: usize,
    /// How deep a recursive loop is, from 0.
    pub depth0: i128,
    pub index0: Cell<i128>,
    pub length: Cell<Option<i128>>,
    pub items: RefCell<LoopItems>,
    /// Levels of values within.
    pub depth: u32,
}

/// The items of a loop that runs.
pub struct LoopItems {
    pub cursor: Cursor,
    pub before: Option<Value>,
    pub current: Option<Value>,
    /// What was looked at before its turn: an item, or that there is none.
    pub after: Option<Option<Value>>,
    /// Items that were taken to count them.
    pub counted: Option<std::vec::IntoIter<Value>>,
    pub changed: Option<Vec<Value>>,
}
