//! The threads of a training step stay awake between its parallel loops, so that starting a loop costs a message to each instead of a visit
//! to the scheduler.
//!
//! A step has some hundred loops of some microseconds. rayon's scheduler puts idle threads to sleep and hands work on by stealing, which
//! takes a good part of such a loop's time. Here:
//!
//! 1. The thread that runs the step, the *leader*, invites the other threads of its pool to a *crew*. They look for work until the step
//!    ends.
//! 2. At each loop the leader writes down the work and calls each thread by a flag of its own, on a cache line of its own.
//! 3. A called thread takes part, and lowers its flag. The leader takes part too.
//! 4. When the work is done, the leader waits for those that have begun. A thread that has not come by then is told to stay.
//!
//! Between loops the threads of a crew also run work of the pool, and leave when there has been no work for long. The leader invites them
//! again at its next loop.

use rayon::Yield;
use std::any::Any;
use std::cell::{Cell, UnsafeCell};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Looks without work after which a thread offers the processor to others between looks.
const BUSY_LOOKS: u32 = 1000;
/// A thread looks for work of the pool once in this many looks.
const LOOKS_PER_VISIT: u32 = 64;
/// A thread that found no work for this long leaves. It may have been taken from work of the pool that others wait for.
pub const PATIENCE: Duration = Duration::from_millis(5);

/// This thread's role in the step that runs.
#[derive(Clone, Copy)]
pub enum StepRole<'a> {
    /// None.
    Outside,
    /// It runs the step, with this crew.
    Leading(&'a Arc<Crew>),
    /// It runs a task of one of the step's loops.
    InTask,
}

thread_local! {
    static ROLE: Cell<StepRole<'static>> = const { Cell::new(StepRole::Outside) };
}

/// Gives this thread another role until dropped.
struct RoleGuard {
    before: StepRole<'static>,
}

impl RoleGuard {
    /// # Safety
    /// A crew that `role` names must live until this is dropped.
    unsafe fn enter(role: StepRole<'_>) -> Self {
        // SAFETY: the caller's promise; `with_step_role` lends the role for a call only.
        Self { before: ROLE.replace(unsafe { std::mem::transmute::<StepRole<'_>, StepRole<'static>>(role) }) }
    }
}

impl Drop for RoleGuard {
    fn drop(&mut self) {
        ROLE.set(self.before);
    }
}

/// Runs `f` with this thread's role.
pub fn with_step_role<R>(f: impl FnOnce(StepRole<'_>) -> R) -> R {
    f(ROLE.get())
}

/// Runs `work` as a step: the other threads of the pool stay awake and share its loops. Just runs it on a thread of no pool, on the only
/// thread of one, and within another step.
pub fn keep_awake<R>(work: impl FnOnce() -> R) -> R {
    let is_outside = with_step_role(|role| matches!(role, StepRole::Outside));
    let threads = rayon::current_num_threads();
    let Some(leader) = rayon::current_thread_index().filter(|_| is_outside && threads > 1) else {
        return work();
    };
    let step = Step { crew: Arc::new(Crew::new(leader, threads)) };
    step.crew.invite();
    // SAFETY: `step` keeps the crew, and is dropped after the guard.
    let _guard = unsafe { RoleGuard::enter(StepRole::Leading(&step.crew)) };
    work()
}

/// A step that runs. Sends its crew away when dropped, however the step ends.
struct Step {
    crew: Arc<Crew>,
}

impl Drop for Step {
    fn drop(&mut self) {
        self.crew.has_ended.store(true, Ordering::Relaxed);
    }
}

/// A value on cache lines of its own. (Processors fetch lines in pairs.)
#[repr(align(128))]
pub struct CachePadded<T>(pub T);

/// The thread has left, and has not been invited again.
const AWAY: u8 = 0;
/// It has been invited.
const INVITED: u8 = 1;
/// It has been invited, and called to a loop.
const EXPECTED: u8 = 2;
/// It looks for work.
const IDLE: u8 = 3;
/// It looks for work, and has been called to a loop.
const CALLED: u8 = 4;
/// It works on the loop.
const WORKING: u8 = 5;

/// What a thread does of a loop, given its place: 0 for the leader, then the others.
type Work<'a> = &'a (dyn Fn(usize) + Sync);

/// The threads of a step, and the loop that they share now.
pub struct Crew {
    /// The leader's index in the pool.
    leader: usize,
    /// The state of each thread, by its place.
    threads: Box<[CachePadded<AtomicU8>]>,
    /// The work of the loop. The leader writes it while all others are idle; a thread that has been called reads it.
    work: UnsafeCell<Work<'static>>,
    /// The payload of the first panic in a loop.
    panic: Mutex<Option<Box<dyn Any + Send>>>,
    has_ended: AtomicBool,
}

// SAFETY: the leader alone writes `work`, between loops, when no other thread works or is called; threads that work read it.
unsafe impl Sync for Crew {}
// SAFETY: the work is Sync, and everything else is Send.
unsafe impl Send for Crew {}

impl Crew {
    fn new(leader: usize, threads: usize) -> Self {
        Self {
            leader,
            threads: (0..threads).map(|_| CachePadded(AtomicU8::new(INVITED))).collect(),
            work: UnsafeCell::new(&|_| ()),
            panic: Mutex::new(None),
            has_ended: AtomicBool::new(false),
        }
    }

    /// Asks the threads of the pool to come; those that are here ignore it. Not during a loop: this may run work of the pool that waits for
    /// the leader.
    fn invite(self: &Arc<Self>) {
        let crew = self.clone();
        rayon::spawn_broadcast(move |thread| {
            let place = (thread.index() + crew.size() - crew.leader) % crew.size();
            let comes = |CachePadded(state): &CachePadded<AtomicU8>| change(state, INVITED, IDLE) || change(state, EXPECTED, CALLED);
            if place > 0 && comes(&crew.threads[place]) {
                crew.look_for_work(place);
            }
        });
        // Runs the leader's own invitation, which would keep the crew alive until this thread looks for work of the pool.
        rayon::yield_local();
    }

    /// The number of its threads, with the leader.
    pub fn size(&self) -> usize {
        self.threads.len()
    }

    /// Runs `work` on this thread (place 0) and on every other thread below `places` that arrives in time. Returns when all are done. Only
    /// for the leader, and not from within `work`.
    ///
    /// # Panics
    /// As the first thread whose work panics does.
    pub fn run(self: &Arc<Self>, places: usize, work: Work<'_>) {
        let others = &self.threads[1..places.max(1)];
        if others.iter().fold(false, |any, CachePadded(state)| change(state, AWAY, INVITED) || any) {
            self.invite();
        }
        // SAFETY: no thread is called or works, so that none reads it. The borrow ends when none is called or works any more, before this
        // returns.
        unsafe { *self.work.get() = std::mem::transmute::<Work<'_>, Work<'static>>(work) };
        for CachePadded(state) in others {
            // An invited thread may come between the first attempt and the second. It does not leave before the third.
            let _ = change(state, IDLE, CALLED) || change(state, INVITED, EXPECTED) || change(state, IDLE, CALLED);
        }
        self.run_work(0);
        others.iter().for_each(|CachePadded(state)| dismiss(state));
        if let Some(payload) = self.panic.lock().unwrap_or_else(PoisonError::into_inner).take() {
            resume_unwind(payload);
        }
    }

    /// Runs the loop's work at this place, and keeps the first panic.
    fn run_work(&self, place: usize) {
        // SAFETY: it names no crew.
        let _guard = unsafe { RoleGuard::enter(StepRole::InTask) };
        // SAFETY: this thread leads, or was called and works.
        let work = unsafe { *self.work.get() };
        if let Err(payload) = catch_unwind(AssertUnwindSafe(|| work(place))) {
            match &mut *self.panic.lock().unwrap_or_else(PoisonError::into_inner) {
                first @ None => *first = Some(payload),
                // Dropping a payload may panic again, while others work with what is borrowed.
                Some(_) => std::mem::forget(payload),
            }
        }
    }

    /// Looks for work, the step's or the pool's, until the step ends or there has been none for long.
    fn look_for_work(&self, place: usize) {
        let CachePadded(state) = &self.threads[place];
        let mut idle = Idle::default();
        while !self.has_ended.load(Ordering::Relaxed) {
            if change(state, CALLED, WORKING) {
                self.run_work(place);
                state.store(IDLE, Ordering::Release);
            } else if !(idle.should_visit_pool() && rayon::yield_now() == Some(Yield::Executed)) {
                if idle.has_lost_patience() && change(state, IDLE, AWAY) {
                    return;
                }
                idle.wait();
                continue;
            }
            idle = Idle::default();
        }
    }
}

/// Takes back the call of a thread that has not come; waits for one that works.
fn dismiss(state: &AtomicU8) {
    let mut idle = Idle::default();
    while !change(state, CALLED, IDLE)
        && !change(state, EXPECTED, INVITED)
        && [EXPECTED, CALLED, WORKING].contains(&state.load(Ordering::Acquire))
    {
        idle.wait();
    }
}

/// Changes a thread's state from the first to the second. False if it was another. A thread sees all that was written before the changes
/// before its own.
fn change(state: &AtomicU8, from: u8, to: u8) -> bool {
    state.load(Ordering::Relaxed) == from && state.compare_exchange(from, to, Ordering::AcqRel, Ordering::Relaxed).is_ok()
}

/// A row of looks without work.
#[derive(Default)]
struct Idle {
    looks: u32,
    /// When the busy looks ended.
    since: Option<Instant>,
}

impl Idle {
    /// True if the next look is for work of the pool.
    fn should_visit_pool(&self) -> bool {
        self.looks % LOOKS_PER_VISIT == LOOKS_PER_VISIT - 1
    }

    /// True if there has been no work for longer than [`PATIENCE`].
    fn has_lost_patience(&self) -> bool {
        self.since.is_some_and(|since| since.elapsed() > PATIENCE)
    }

    /// Waits a moment before the next look.
    fn wait(&mut self) {
        self.looks = self.looks.wrapping_add(1);
        if self.looks < BUSY_LOOKS {
            return std::hint::spin_loop();
        }
        self.since.get_or_insert_with(Instant::now);
        std::thread::yield_now();
    }
}
