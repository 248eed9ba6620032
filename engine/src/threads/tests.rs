//! Loops inside and outside a step give the same results, however threads come, leave and fail.

use super::crew::{PATIENCE, keep_awake};
use super::parallel_loop::{InTasks, run_tasks};
use rayon::prelude::*;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

fn pool(threads: usize) -> rayon::ThreadPool {
    rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap()
}

fn sum_of_loops() -> usize {
    let one = |i: usize| {
        let mut numbers = vec![0; 1 + i % 50];
        numbers.iter_mut().enumerate().for_each_task(|(j, number)| *number = i * j);
        numbers.into_iter().sum::<usize>()
    };
    (0..1000).map(one).sum()
}

#[test]
fn loops_give_what_they_give_outside_a_step() {
    let expected = sum_of_loops();
    for threads in [1, 2, 3, 8] {
        assert_eq!(pool(threads).install(|| keep_awake(sum_of_loops)), expected, "{threads} threads");
        assert_eq!(pool(threads).install(|| keep_awake(|| keep_awake(sum_of_loops))), expected, "{threads} threads, within one another");
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
            run_tasks(100, &add)
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
        let run = || if outer { run_tasks(40, &add) } else { (0..40usize).into_par_iter().for_each(add) };
        pool(3).install(|| keep_awake(run));
        assert_eq!(total.into_inner(), 40 * 4950, "tasks outside {outer}, inside {within}");
    }
}

/// Waits until it is so, as it must be soon.
fn wait_until(so: impl Fn() -> bool) {
    let start = Instant::now();
    while !so() {
        assert!(start.elapsed() < Duration::from_secs(20), "nobody came");
        std::thread::yield_now();
    }
}

#[test]
fn a_thread_that_takes_long_is_relieved_of_its_other_tasks() {
    let step = || {
        let done = AtomicUsize::new(0);
        run_tasks(40, &|task| {
            if task == 0 {
                wait_until(|| done.load(Ordering::Relaxed) == 39);
            }
            done.fetch_add(1, Ordering::Relaxed);
        });
        assert_eq!(done.into_inner(), 40);
    };
    pool(2).install(|| keep_awake(|| (0..50).for_each(|_| step())));
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
            let caught = catch_unwind(AssertUnwindSafe(|| run_tasks(30, &fails)));
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
fn work_of_the_pool_is_done_between_loops_and_who_has_left_comes_back() {
    let expected = sum_of_loops();
    pool(2).install(|| {
        keep_awake(|| {
            for pause in [Duration::ZERO, 3 * PATIENCE] {
                std::thread::sleep(pause);
                let others = AtomicBool::new(false);
                rayon::join(|| wait_until(|| others.load(Ordering::Relaxed)), || others.store(true, Ordering::Relaxed));
                std::thread::sleep(pause);
                let others = AtomicUsize::new(0);
                run_tasks(2, &|_| {
                    others.fetch_add(1, Ordering::Relaxed);
                    wait_until(|| others.load(Ordering::Relaxed) == 2);
                });
                assert_eq!(sum_of_loops(), expected);
            }
        });
    });
}

#[test]
fn steps_of_one_pool_at_the_same_time_with_loops_of_the_pool_within_end() {
    let step = |_: usize| {
        keep_awake(|| {
            let sums: Vec<usize> = (0..20usize).into_par_iter().map(|_| sum_of_loops()).collect();
            sums.into_iter().sum::<usize>() + sum_of_loops()
        })
    };
    let expected = 21 * sum_of_loops();
    for threads in [2, 3] {
        let found: Vec<usize> = pool(threads).install(|| (0..8usize).into_par_iter().map(step).collect());
        assert_eq!(found, [expected; 8], "{threads} threads");
    }
}
