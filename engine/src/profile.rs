//! Where a step's time and bytes go, by op: the time between one mark and the next belongs to the op that sets it.
//!
//! Nothing is measured, and nothing but a thread-local flag is looked at, until [`profiled`] runs.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::Instant;

/// Which part of a step an op ran in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Pass {
    /// Values.
    Forward,
    /// Vector-Jacobian products.
    Backward,
    /// What is done with the gradients.
    Update,
}

/// What one op cost in one pass.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    /// The pass.
    pub pass: Pass,
    /// The op's name.
    pub name: &'static str,
    /// How often it ran.
    pub calls: u64,
    /// Its time in seconds.
    pub seconds: f64,
    /// Bytes of what it made: outputs, cotangents, updated parameters.
    pub bytes: u64,
}

struct Recorder {
    /// Waits until what was started has been computed, so that its time is its own op's.
    wait: Box<dyn Fn()>,
    last: Instant,
    lines: BTreeMap<(Pass, &'static str), (u64, f64, u64)>,
}

thread_local! {
    static RECORDER: RefCell<Option<Recorder>> = const { RefCell::new(None) };
}

/// Runs `f` and tells where the time of this thread went, the costliest op first. `wait` waits for the device that `f` computes on.
pub fn profiled<R>(wait: impl Fn() + 'static, f: impl FnOnce() -> R) -> (R, Vec<Line>) {
    let new = Recorder { wait: Box::new(wait), last: Instant::now(), lines: BTreeMap::new() };
    RECORDER.with(|recorder| *recorder.borrow_mut() = Some(new));
    let result = f();
    let recorder = RECORDER.with(|recorder| recorder.borrow_mut().take());
    let lines = recorder.into_iter().flat_map(|recorder| recorder.lines);
    let mut lines: Vec<Line> = lines.map(|((pass, name), (calls, seconds, bytes))| Line { pass, name, calls, seconds, bytes }).collect();
    lines.sort_by(|a, b| b.seconds.total_cmp(&a.seconds));
    (result, lines)
}

/// The time since the last mark belongs to this op, which made `bytes()` bytes. Does nothing outside of [`profiled`].
#[inline]
pub fn mark(pass: Pass, name: &'static str, bytes: impl FnOnce() -> u64) {
    if is_profiling() {
        add(pass, name, bytes());
    }
}

fn is_profiling() -> bool {
    RECORDER.with(|recorder| recorder.try_borrow().is_ok_and(|recorder| recorder.is_some()))
}

fn add(pass: Pass, name: &'static str, bytes: u64) {
    RECORDER.with(|recorder| {
        let Ok(mut recorder) = recorder.try_borrow_mut() else { return };
        let Some(recorder) = recorder.as_mut() else { return };
        (recorder.wait)();
        let now = Instant::now();
        let line = recorder.lines.entry((pass, name)).or_default();
        line.0 += 1;
        line.1 += now.duration_since(recorder.last).as_secs_f64();
        line.2 += bytes;
        recorder.last = now;
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Cpu, Tensor};

    #[test]
    fn every_op_of_a_step_is_listed_with_its_calls_and_bytes() {
        let x = Tensor::parameter(&Cpu::<f32>::new(), &[1.0; 6], &[2, 3]);
        let (_, lines) = profiled(|| (), || x.exp().mul(&x).sum_all().backward());
        let find = |pass, name| lines.iter().find(|line| line.pass == pass && line.name == name);
        let exp = find(Pass::Forward, "exp").expect("exp ran forward");
        assert_eq!((exp.calls, exp.bytes), (1, 24));
        assert_eq!(find(Pass::Backward, "mul").expect("mul ran backward").bytes, 48);
        mark(Pass::Forward, "outside", || unreachable!("nothing is measured outside"));
    }
}
