//! The threads of a step: between its parallel loops they stay awake, and a loop costs them a message each, not a visit to the scheduler.
//!
//! A step has some hundred loops of some microseconds. The pool's scheduler puts idle threads to sleep and hands work on by stealing, which
//! takes a good part of such a loop's time. Here the thread that leads the step calls each of the others where only that one looks, and lets it
//! go the same way. A thread that has not come when the work is done is not waited for.

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
/// A thread that found no work for this long leaves until it is invited again: it may be in the middle of work of the pool that others wait
/// for.
pub const PATIENCE: Duration = Duration::from_millis(5);

/// What a thread is to the step that runs.
#[derive(Clone, Copy)]
pub enum Place<'a> {
    /// It has no part in one.
    Outside,
    /// It leads the step, with these threads.
    Leading(&'a Arc<Crew>),
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
pub fn with_place<R>(f: impl FnOnce(Place<'_>) -> R) -> R {
    f(PLACE.get())
}

/// Runs `work` with the other threads of the pool awake and its loops shared with them. Where this is no thread of a pool, the only one, or
/// already part of a step, it just runs.
pub fn keep_awake<R>(work: impl FnOnce() -> R) -> R {
    let outside = with_place(|place| matches!(place, Place::Outside));
    let threads = rayon::current_num_threads();
    let Some(leader) = rayon::current_thread_index().filter(|_| outside && threads > 1) else {
        return work();
    };
    let ended = Ended(Arc::new(Crew::new(leader, threads)));
    ended.0.invite();
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
pub struct Apart<T>(pub T);

/// A thread has left, and has not been invited again.
const AWAY: u8 = 0;
/// It is to come.
const INVITED: u8 = 1;
/// It is to come, and to work on a loop.
const EXPECTED: u8 = 2;
/// It looks for work.
const IDLE: u8 = 3;
/// The leader has called it to a loop.
const CALLED: u8 = 4;
/// It works on the loop.
const WORKING: u8 = 5;

/// What each thread does of a loop, given its place: 0 for the leader, then the others.
type Work<'a> = &'a (dyn Fn(usize) + Sync);

/// The threads of a step, and the loop that they share at the moment.
pub struct Crew {
    /// The index in the pool of the thread that leads.
    leader: usize,
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
    fn new(leader: usize, threads: usize) -> Self {
        Self {
            leader,
            threads: (0..threads).map(|_| Apart(AtomicU8::new(INVITED))).collect(),
            work: UnsafeCell::new(&|_| ()),
            panic: Mutex::new(None),
            ended: AtomicBool::new(false),
        }
    }

    /// Asks the pool's threads to come; those that have do nothing more. Not while a loop is shared: work of the pool that waits for the leader
    /// may be done here.
    fn invite(self: &Arc<Self>) {
        let crew = self.clone();
        rayon::spawn_broadcast(move |thread| {
            let place = (thread.index() + crew.size() - crew.leader) % crew.size();
            let comes = |Apart(own): &Apart<AtomicU8>| swap(own, INVITED, IDLE) || swap(own, EXPECTED, CALLED);
            if place > 0 && comes(&crew.threads[place]) {
                crew.look_for_work(place);
            }
        });
        // The leader's own invitation, which would wait with the crew in it until this thread looks for work of the pool.
        rayon::yield_local();
    }

    /// How many threads it has.
    pub fn size(&self) -> usize {
        self.threads.len()
    }

    /// Does `work` in this thread, whose place is 0, and in those of the threads with places below `places` that come before it is done here;
    /// returns when none works any more. Only for the leader, and not from within.
    ///
    /// # Panics
    /// As the first thread whose work panics does.
    pub fn run(self: &Arc<Self>, places: usize, work: Work<'_>) {
        let others = &self.threads[1..places.max(1)];
        if others.iter().fold(false, |any, Apart(thread)| swap(thread, AWAY, INVITED) || any) {
            self.invite();
        }
        // SAFETY: no thread is called or works, so nobody reads it; what it borrows is used only until none is or does, before this returns.
        unsafe { *self.work.get() = std::mem::transmute::<Work<'_>, Work<'static>>(work) };
        for Apart(thread) in others {
            // One that has been invited may come between the first look and the second, and leaves not before the third.
            let _ = swap(thread, IDLE, CALLED) || swap(thread, INVITED, EXPECTED) || swap(thread, IDLE, CALLED);
        }
        self.work_at(0);
        for Apart(thread) in others {
            let mut idle = Idle::default();
            while !swap(thread, CALLED, IDLE)
                && !swap(thread, EXPECTED, INVITED)
                && [EXPECTED, CALLED, WORKING].contains(&thread.load(Ordering::Acquire))
            {
                idle.wait();
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
            match &mut *self.panic.lock().unwrap_or_else(PoisonError::into_inner) {
                first @ None => *first = Some(said),
                // What it says might panic again when it is dropped, here where others work with what is borrowed.
                Some(_) => std::mem::forget(said),
            }
        }
    }

    /// Looks for work, the step's or the pool's, until the step ends or there has been none for long.
    fn look_for_work(&self, place: usize) {
        let Apart(own) = &self.threads[place];
        let mut idle = Idle::default();
        while !self.ended.load(Ordering::Relaxed) {
            if swap(own, CALLED, WORKING) {
                self.work_at(place);
                own.store(IDLE, Ordering::Release);
            } else if !(idle.visits_pool() && rayon::yield_now() == Some(Yield::Executed)) {
                if idle.has_been_long() && swap(own, IDLE, AWAY) {
                    return;
                }
                idle.wait();
                continue;
            }
            idle = Idle::default();
        }
    }
}

/// Changes a thread's state, if it is the first, to the second; says whether it was. What was written before a change is seen by who makes the
/// next.
fn swap(state: &AtomicU8, from: u8, to: u8) -> bool {
    state.load(Ordering::Relaxed) == from && state.compare_exchange(from, to, Ordering::AcqRel, Ordering::Relaxed).is_ok()
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

    /// Has there been no work for long?
    fn has_been_long(&self) -> bool {
        self.since.is_some_and(|since| since.elapsed() > PATIENCE)
    }

    /// A moment until the next look.
    fn wait(&mut self) {
        self.looks = self.looks.wrapping_add(1);
        if self.looks < BUSY_LOOKS {
            return std::hint::spin_loop();
        }
        self.since.get_or_insert_with(Instant::now);
        std::thread::yield_now();
    }
}
