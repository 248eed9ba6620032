//! Threads that stay awake while a step runs. Between two parallel loops the pool's idle threads would go to sleep, and waking one takes
//! longer than many a loop; here they look for work until the step ends, or until there has been none for a while.

use rayon::Yield;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// A thread that found no work for this long goes to sleep as usual.
const PATIENCE: Duration = Duration::from_millis(5);
/// Rounds without work before the system may give the processor to others between them.
const BUSY_ROUNDS: u32 = 1000;

/// Sets the flag when the step ends, however it ends.
struct Ended(Arc<AtomicBool>);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Runs `work` with the other threads of the pool awake. Where this is no thread of a pool, or the only one, it just runs.
pub fn keep_awake<R>(work: impl FnOnce() -> R) -> R {
    let Some(own) = rayon::current_thread_index().filter(|_| rayon::current_num_threads() > 1) else {
        return work();
    };
    let ended = Ended(Arc::default());
    let flag = ended.0.clone();
    rayon::spawn_broadcast(move |thread| {
        if thread.index() != own {
            look_for_work(&flag);
        }
    });
    work()
}

fn look_for_work(ended: &AtomicBool) {
    let (mut idle, mut since) = (0, Instant::now());
    while !ended.load(Ordering::Relaxed) {
        if rayon::yield_now() == Some(Yield::Executed) {
            (idle, since) = (0, Instant::now());
            continue;
        }
        idle += 1;
        if idle > BUSY_ROUNDS {
            if since.elapsed() > PATIENCE {
                return;
            }
            std::thread::yield_now();
        }
        std::hint::spin_loop();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rayon::prelude::*;

    fn pool(threads: usize) -> rayon::ThreadPool {
        rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap()
    }

    #[test]
    fn loops_within_give_what_they_give_without_it() {
        let sums = || (0..100).map(|i: usize| (0..1000usize).into_par_iter().map(|j| i * j).sum::<usize>()).sum::<usize>();
        assert_eq!(pool(3).install(|| keep_awake(sums)), 4950 * 499_500);
        assert_eq!(pool(2).install(|| keep_awake(|| keep_awake(sums))), 4950 * 499_500, "within one another");
        assert_eq!(pool(1).install(|| keep_awake(sums)), 4950 * 499_500, "with a single thread");
        assert_eq!(keep_awake(|| 7), 7, "on a thread of no pool");
    }

    #[test]
    fn threads_take_other_work_when_the_step_has_ended_or_failed() {
        let pool = pool(3);
        let fails = || pool.install(|| keep_awake(|| panic!("a step fails")));
        let caught: std::thread::Result<()> = std::panic::catch_unwind(std::panic::AssertUnwindSafe(fails));
        assert!(caught.is_err());
        assert_eq!(pool.broadcast(|thread| thread.index()), [0, 1, 2]);
    }
}
