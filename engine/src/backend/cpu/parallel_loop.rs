//! Parallel loops over rayon's iterators, shared with the threads of a step where one runs.

use super::crew::{Crew, Place, with_place};
use rayon::iter::plumbing::{Producer, ProducerCallback};
use rayon::prelude::*;
use std::sync::{Mutex, PoisonError};

/// Loops whose items are tasks.
pub trait InTasks: IndexedParallelIterator {
    /// `f` of each item, each a task: worth some microseconds.
    fn for_each_task(self, f: impl Fn(Self::Item) + Sync + Send) {
        self.for_each_in_tasks_of(1, f);
    }

    /// `f` of each item, so many of them a task.
    fn for_each_in_tasks_of(self, items: usize, f: impl Fn(Self::Item) + Sync + Send) {
        let items = items.max(1);
        with_place(|place| match place {
            Place::Outside => self.with_min_len(items).with_max_len(items).for_each(f),
            Place::InTask => self.with_producer(InOrder(f)),
            Place::Leading(crew) => {
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
    crew: &'a Crew,
    len: usize,
    items: usize,
    f: F,
}

impl<T: Send, F: Fn(T) + Sync> ProducerCallback<T> for Shared<'_, F> {
    type Output = ();
    fn callback<P: Producer<Item = T>>(self, producer: P) {
        if self.len <= self.items {
            return producer.into_iter().for_each(self.f);
        }
        let tasks = self.len.div_ceil(self.items);
        let mut pieces = Vec::with_capacity(tasks);
        let mut rest = producer;
        for _ in 1..tasks {
            let (piece, after) = rest.split_at(self.items);
            pieces.push(Mutex::new(Some(piece)));
            rest = after;
        }
        pieces.push(Mutex::new(Some(rest)));
        self.crew.run(u32::try_from(tasks).expect("fewer than 2³² tasks"), &|number| {
            let piece = pieces[number].lock().unwrap_or_else(PoisonError::into_inner).take();
            piece.expect("each task once").into_iter().for_each(&self.f);
        });
    }
}
