//! Parallel loops over tasks: by the threads of a step where one runs, else by rayon's.
//!
//! A loop's body is compiled once for each kernel, all that hands tasks to threads once for the program: it knows tasks by their number.

use super::crew::{CachePadded, StepRole, with_step_role};
use rayon::prelude::*;
use std::ops::Range;
use std::sync::{Mutex, PoisonError};

/// Runs `task` on each of `0..tasks`, in parallel. A task should be worth some microseconds.
///
/// # Panics
/// If a task panics, when no thread works on the loop any more; other tasks may not have been done then.
pub fn run_tasks(tasks: usize, task: &(dyn Fn(usize) + Sync)) {
    with_step_role(|role| match role {
        _ if tasks <= 1 => (0..tasks).for_each(task),
        StepRole::Outside => (0..tasks).into_par_iter().with_max_len(1).for_each(task),
        // The other threads have tasks of their own.
        StepRole::InTask => (0..tasks).for_each(task),
        StepRole::Leading(crew) => {
            let parts = Part::each(tasks, crew.size().min(tasks));
            crew.run(parts.len(), &|place| {
                for other in 0..parts.len() {
                    let part = &parts[(place + other) % parts.len()];
                    while let Some(number) = part.take(other == 0) {
                        task(number);
                    }
                }
            });
        }
    });
}

/// Iterators whose items are the tasks of a parallel loop.
pub trait InTasks: ExactSizeIterator<Item: Send> {
    /// Runs `f` on each item, in parallel. An item should be worth some microseconds.
    ///
    /// # Panics
    /// If `f` panics, when no thread works on the loop any more; other items may not have been done then.
    fn for_each_task(self, f: impl Fn(Self::Item) + Sync)
    where
        Self: Sized,
    {
        let items: Vec<_> = self.map(|item| Mutex::new(Some(item))).collect();
        run_tasks(items.len(), &|task| {
            let item = items[task].lock().unwrap_or_else(PoisonError::into_inner).take();
            f(item.expect("each task runs once"));
        });
    }
}

impl<I: ExactSizeIterator<Item: Send>> InTasks for I {}

/// A thread's part of a loop: the tasks that nobody has taken yet. A thread that is done with its own takes tasks from the end of
/// another's. Parts are the same from loop to loop, so that rows mostly stay with the thread whose cache holds them. Which thread does a
/// task changes nothing about the result.
struct Part(CachePadded<Mutex<Range<usize>>>);

impl Part {
    /// Cuts the tasks into `count` parts.
    fn each(tasks: usize, count: usize) -> Vec<Self> {
        let start = |part: usize| (tasks * part).div_ceil(count);
        (0..count).map(|part| Self(CachePadded(Mutex::new(start(part)..start(part + 1))))).collect()
    }

    /// Takes a task, if one is left: from the front, or from the end.
    fn take(&self, front: bool) -> Option<usize> {
        let mut rest = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        if front { rest.next() } else { rest.next_back() }
    }
}
