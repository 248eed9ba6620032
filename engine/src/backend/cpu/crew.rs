//! The threads of a step: between its parallel loops they stay awake, and a loop costs them a message each, not a visit to the scheduler.
//!
//! A step has some hundred loops of some microseconds. The pool's scheduler puts idle threads to sleep and hands work on by stealing, which
//! takes about as long as such a loop. Here the thread that leads the step calls each of the others where only that one looks, and lets it go the
//! same way. A thread that has not come when the work is done is not waited for.

use rayon::Yield;
use std::any::Any;
use std::cell::{Cell, UnsafeCell};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// After so many looks without work a thread offers the processor to others between them.
const BUSY_LOOKS: u32 = 1000;
/// A thread looks for work of the pool itself once in so many looks.
const LOOKS_A_VISIT: u32 = 64;
/// A thread that found no work for this long naps between looks.
const PATIENCE: Duration = Duration::from_millis(5);
const NAP: Duration = Duration::from_micros(50);

/// What a thread is to the step that runs.
#[derive(Clone, Copy)]
pub(super) enum Place<'a> {
    /// It has no part in one.
    Outside,
    /// It leads the step, with these threads.
    Leading(&'a Crew),
    /// It does a task of one of the step's loops.
    InTask,
}

thread_local! {
    static PLACE: Cell<Place<'static>> = const { Cell::new(Place::Outside) };
}

/// Puts this thread in a place, and back where it was when dropped.
struct Placed(Place<'static>);

impl Placed {
    /// # Safety
    /// A crew that `place` names must live until this is dropped.
    unsafe fn new(place: Place<'_>) -> Self {
        // SAFETY: the caller's promise; nothing else outlives it, as `with_place` lends it only for a call.
        Self(PLACE.replace(unsafe { std::mem::transmute::<Place<'_>, Place<'static>>(place) }))
    }
}

impl Drop for Placed {
    fn drop(&mut self) {
        PLACE.set(self.0);
    }
}

/// Runs `f` with this thread's place.
pub(super) fn with_place<R>(f: impl FnOnce(Place<'_>) -> R) -> R {
    f(PLACE.get())
}

/// Runs `work` with the other threads of the pool awake and its loops shared with them. Where this is no thread of a pool, the only one, or
/// already part of a step, it just runs.
pub fn keep_awake<R>(work: impl FnOnce() -> R) -> R {
    let outside = with_place(|place| matches!(place, Place::Outside));
    let Some(leader) = rayon::current_thread_index().filter(|_| outside && rayon::current_num_threads() > 1) else {
        return work();
    };
    let threads = rayon::current_num_threads();
    let crew = Arc::new(Crew::new(threads));
    let ended = Ended(crew.clone());
    let joined = crew.clone();
    rayon::spawn_broadcast(move |thread| {
        if thread.index() != leader {
            joined.look_for_work((thread.index() + threads - leader) % threads);
        }
    });
    // SAFETY: `ended` keeps the crew, and is dropped after the place.
    let _place = unsafe { Placed::new(Place::Leading(&ended.0)) };
    work()
}

/// Sends the threads away when the step ends, however it ends.
struct Ended(Arc<Crew>);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.ended.store(true, Ordering::Relaxed);
    }
}

/// On lines of the cache of its own.
#[repr(align(128))]
pub(super) struct Apart<T>(pub(super) T);

/// A thread has nothing to do with a loop.
const IDLE: u8 = 0;
/// The leader has called it to a loop.
const CALLED: u8 = 1;
/// It works on the loop.
const WORKING: u8 = 2;

/// What each thread does of a loop, given its place: 0 for the leader, then the others.
type Work<'a> = &'a (dyn Fn(usize) + Sync);

/// The threads of a step, and the loop that they share at the moment.
pub(super) struct Crew {
    /// What each thread is doing, by its place.
    threads: Box<[Apart<AtomicU8>]>,
    /// What they do: written by the leader while all are idle, read by who has been called and works.
    work: UnsafeCell<Work<'static>>,
    /// What the first thread whose work panicked said.
    panic: Mutex<Option<Box<dyn Any + Send>>>,
    ended: AtomicBool,
}

// SAFETY: `work` is written only by the leader, between loops, when no other thread works or is called, and read only by threads that work.
unsafe impl Sync for Crew {}
// SAFETY: what is worked on is Sync, and all else is Send.
unsafe impl Send for Crew {}

impl Crew {
    fn new(threads: usize) -> Self {
        Self {
            threads: (0..threads).map(|_| Apart(AtomicU8::new(IDLE))).collect(),
            work: UnsafeCell::new(&|_| ()),
            panic: Mutex::new(None),
            ended: AtomicBool::new(false),
        }
    }

    /// How many threads it has.
    pub(super) fn size(&self) -> usize {
        self.threads.len()
    }

    /// Does `work` in this thread, whose place is 0, and in those of the threads with places below `places` that come before it is done here; returns
    /// when none works any more. Only for the leader, and not from within.
    ///
    /// # Panics
    /// As the first thread whose work panics does.
    pub(super) fn run(&self, places: usize, work: Work<'_>) {
        // SAFETY: no thread is called or works, so nobody reads it; what it borrows is used only until all are idle again, before this returns.
        unsafe { *self.work.get() = std::mem::transmute::<Work<'_>, Work<'static>>(work) };
        let others = &self.threads[1..places.max(1)];
        for Apart(thread) in others {
            thread.store(CALLED, Ordering::Release);
        }
        self.work_at(0);
        for Apart(thread) in others {
            if thread.compare_exchange(CALLED, IDLE, Ordering::Relaxed, Ordering::Relaxed).is_err() {
                let mut idle = Idle::default();
                while thread.load(Ordering::Acquire) != IDLE {
                    idle.wait();
                }
            }
        }
        if let Some(said) = self.panic.lock().unwrap_or_else(PoisonError::into_inner).take() {
            resume_unwind(said);
        }
    }

    fn work_at(&self, place: usize) {
        // SAFETY: it names no crew.
        let _place = unsafe { Placed::new(Place::InTask) };
        // SAFETY: this thread leads, or was called and works.
        let work = unsafe { *self.work.get() };
        if let Err(said) = catch_unwind(AssertUnwindSafe(|| work(place))) {
            self.panic.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(said);
        }
    }

    /// Looks for work, the step's or the pool's, until the step ends.
    fn look_for_work(&self, place: usize) {
        let Apart(own) = &self.threads[place];
        let mut idle = Idle::default();
        while !self.ended.load(Ordering::Relaxed) {
            let called = own.load(Ordering::Relaxed) == CALLED;
            if called && own.compare_exchange(CALLED, WORKING, Ordering::Acquire, Ordering::Relaxed).is_ok() {
                self.work_at(place);
                own.store(IDLE, Ordering::Release);
            } else if !(idle.visits_pool() && rayon::yield_now() == Some(Yield::Executed)) {
                idle.wait();
                continue;
            }
            idle = Idle::default();
        }
    }
}

/// Looks without work, one after the other.
#[derive(Default)]
struct Idle {
    looks: u32,
    /// When the busy ones ended.
    since: Option<Instant>,
}

impl Idle {
    /// Is this look one for work of the pool?
    fn visits_pool(&self) -> bool {
        self.looks % LOOKS_A_VISIT == LOOKS_A_VISIT - 1
    }

    /// A moment until the next look, longer where there was no work for long.
    fn wait(&mut self) {
        self.looks = self.looks.wrapping_add(1);
        if self.looks < BUSY_LOOKS {
            return std::hint::spin_loop();
        }
        if self.since.get_or_insert_with(Instant::now).elapsed() < PATIENCE {
            std::thread::yield_now();
        } else {
            std::thread::sleep(NAP);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::parallel_loop::InTasks;
    use super::*;
    use rayon::prelude::*;
    use std::sync::atomic::AtomicUsize;

    fn pool(threads: usize) -> rayon::ThreadPool {
        rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap()
    }

    fn sum_of_loops() -> usize {
        let one = |i: usize| {
            let mut numbers = vec![0; 1 + i % 50];
            numbers.par_iter_mut().enumerate().for_each_task(|(j, number)| *number = i * j);
            numbers.into_iter().sum::<usize>()
        };
        (0..1000).map(one).sum()
    }

    #[test]
    fn loops_give_what_they_give_outside_a_step() {
        let expected = sum_of_loops();
        for threads in [1, 2, 3, 8] {
            assert_eq!(pool(threads).install(|| keep_awake(sum_of_loops)), expected, "{threads} threads");
            assert_eq!(
                pool(threads).install(|| keep_awake(|| keep_awake(sum_of_loops))),
                expected,
                "{threads} threads, within one another"
            );
        }
        assert_eq!(keep_awake(sum_of_loops), expected, "on a thread of no pool");
    }

    #[test]
    fn loops_of_tasks_and_of_the_pool_may_be_within_each_other() {
        let inner = |tasks: bool| {
            let total = AtomicUsize::new(0);
            let add = |i: usize| {
                total.fetch_add(i, Ordering::Relaxed);
            };
            if tasks {
                (0..100usize).into_par_iter().for_each_task(add)
            } else {
                (0..100usize).into_par_iter().for_each(add)
            }
            total.into_inner()
        };
        for (outer, within) in [(true, true), (true, false), (false, true)] {
            let total = AtomicUsize::new(0);
            let add = |_: usize| {
                total.fetch_add(inner(within), Ordering::Relaxed);
            };
            let run = || if outer { (0..40usize).into_par_iter().for_each_task(add) } else { (0..40usize).into_par_iter().for_each(add) };
            pool(3).install(|| keep_awake(run));
            assert_eq!(total.into_inner(), 40 * 4950, "tasks outside {outer}, inside {within}");
        }
    }

    #[test]
    fn all_threads_do_tasks_and_a_slow_one_is_relieved_of_its_own() {
        pool(2).install(|| {
            keep_awake(|| {
                let by: Vec<AtomicUsize> = (0..2).map(|_| AtomicUsize::new(0)).collect();
                (0..40usize).into_par_iter().for_each_task(|task| {
                    by[rayon::current_thread_index().expect("a thread of the pool")].fetch_add(1, Ordering::Relaxed);
                    std::thread::sleep(Duration::from_millis(if task == 0 { 40 } else { 1 }));
                });
                let counts: Vec<usize> = by.into_iter().map(AtomicUsize::into_inner).collect();
                assert_eq!(counts.iter().sum::<usize>(), 40);
                let leader = counts[rayon::current_thread_index().expect("a thread of the pool")];
                assert!(leader < 20, "the leader, slow with its first task, did {leader} of 40");
            });
        });
    }

    #[test]
    fn a_panic_reaches_the_caller_when_no_thread_works_any_more_and_the_threads_go_on() {
        let pool = pool(3);
        let at_work = AtomicUsize::new(0);
        let fails = |task: usize| {
            at_work.fetch_add(1, Ordering::Relaxed);
            std::thread::sleep(Duration::from_millis(task as u64 % 3));
            at_work.fetch_sub(1, Ordering::Relaxed);
            assert!(task != 7, "task seven fails");
        };
        let step = || {
            keep_awake(|| {
                let caught = catch_unwind(AssertUnwindSafe(|| (0..30usize).into_par_iter().for_each_task(fails)));
                assert_eq!(caught.unwrap_err().downcast_ref::<&str>(), Some(&"task seven fails"));
                assert_eq!(at_work.load(Ordering::Relaxed), 0);
                sum_of_loops()
            })
        };
        assert_eq!(pool.install(step), sum_of_loops());
        let caught = catch_unwind(AssertUnwindSafe(|| pool.install(|| keep_awake(|| panic!("a step fails")))));
        assert!(caught.is_err());
        assert_eq!(pool.broadcast(|thread| thread.index()), [0, 1, 2]);
    }

    #[test]
    fn work_of_the_pool_is_done_between_loops_even_after_a_pause() {
        pool(2).install(|| {
            keep_awake(|| {
                std::thread::sleep(2 * PATIENCE);
                let (a, b) = rayon::join(|| std::thread::sleep(Duration::from_millis(50)), rayon::current_thread_index);
                assert_eq!(a, ());
                assert_ne!(b, rayon::current_thread_index(), "the other thread took it");
                assert_eq!(sum_of_loops(), sum_of_loops());
            });
        });
    }
}
