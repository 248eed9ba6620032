//! Parallel loops over rayon's iterators, shared with the threads of a step where one runs.

use super::crew::{CachePadded, Crew, StepRole, with_step_role};
use rayon::iter::plumbing::{Producer, ProducerCallback};
use rayon::prelude::*;
use std::sync::{Arc, Mutex, PoisonError};

/// Loops whose items are tasks. Where one panics, so does the loop, when no thread works on it any more; other tasks may not have been done
/// then.
pub trait InTasks: IndexedParallelIterator {
    /// `f` of each item, each a task: worth some microseconds.
    fn for_each_task(self, f: impl Fn(Self::Item) + Sync + Send) {
        self.for_each_in_tasks_of(1, f);
    }

    /// `f` of each item, about so many of them a task.
    fn for_each_in_tasks_of(self, items: usize, f: impl Fn(Self::Item) + Sync + Send) {
        let items = items.max(1);
        with_step_role(|role| match role {
            StepRole::Outside => self.with_min_len(items).with_max_len(items).for_each(f),
            StepRole::InTask => self.with_producer(InOrder(f)),
            StepRole::Leading(crew) => {
                let len = self.len();
                self.with_producer(Shared { crew, len, items, f });
            }
        });
    }
}

impl<I: IndexedParallelIterator> InTasks for I {}

/// All items by this thread: it is in a task, and the other threads have tasks of their own.
struct InOrder<F>(F);

impl<T: Send, F: Fn(T) + Sync> ProducerCallback<T> for InOrder<F> {
    type Output = ();
    fn callback<P: Producer<Item = T>>(self, producer: P) {
        producer.into_iter().for_each(self.0);
    }
}

/// The items in tasks for a crew.
struct Shared<'a, F> {
    crew: &'a Arc<Crew>,
    len: usize,
    items: usize,
    f: F,
}

impl<T: Send, F: Fn(T) + Sync> ProducerCallback<T> for Shared<'_, F> {
    type Output = ();
    fn callback<P: Producer<Item = T>>(self, producer: P) {
        let Self { crew, len, items, f } = self;
        let tasks = len.div_ceil(items);
        if tasks <= 1 {
            return producer.into_iter().for_each(f);
        }
        let parts = Part::each(producer, len, items, crew.size().min(tasks));
        crew.run(parts.len(), &|place| {
            for other in 0..parts.len() {
                let part = &parts[(place + other) % parts.len()];
                while let Some(task) = part.take(items, other == 0) {
                    task.into_iter().for_each(&f);
                }
            }
        });
    }
}

/// A thread's part of a loop. Who is done with its own takes tasks from the end of another's. Parts are the same from loop to loop, so that
/// rows mostly stay with the thread whose cache they are in. Which thread does a task changes nothing about the result.
struct Part<P>(CachePadded<Mutex<Rest<P>>>);

/// What nobody has taken yet: so many items.
struct Rest<P> {
    producer: Option<P>,
    len: usize,
}

impl<P: Producer> Part<P> {
    /// As many parts, of whole tasks.
    fn each(producer: P, len: usize, items: usize, count: usize) -> Vec<Self> {
        let tasks = len.div_ceil(items);
        let end = |part: usize| ((tasks * (part + 1)).div_ceil(count) * items).min(len);
        let (mut rest, mut start) = (Some(producer), 0);
        let one = |part: usize| {
            let own = end(part) - start;
            start += own;
            let (producer, after) = match rest.take() {
                Some(all) if part + 1 < count => {
                    let (producer, after) = all.split_at(own);
                    (Some(producer), Some(after))
                }
                last => (last, None),
            };
            rest = after;
            Self(CachePadded(Mutex::new(Rest { producer, len: own })))
        };
        (0..count).map(one).collect()
    }

    /// A task, if one is left: from the front, or from the end.
    fn take(&self, items: usize, front: bool) -> Option<P> {
        let Rest { producer, len } = &mut *self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        let all = producer.take()?;
        if *len <= items {
            return Some(all);
        }
        let at = if front { items } else { (*len - 1) / items * items };
        let (first, second) = all.split_at(at);
        let (task, rest) = if front { (first, second) } else { (second, first) };
        *len = if front { *len - items } else { at };
        *producer = Some(rest);
        Some(task)
    }
}
