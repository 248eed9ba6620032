//! The loop of a training run: steps, with the evaluations and checkpoints that are due, until the last step or a request to stop.
//!
//! The loop prints nothing and knows no files: a [`Participant`] makes its parts. With several processes each one runs this loop, so that
//! all make the same steps and stop after the same one. A run that resumes begins after the step of its checkpoint.

/// When a run ends, evaluates and saves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The last step, counted from 1.
    pub steps: u64,
    /// Evaluates after each multiple of this number of steps, and after the last one; 0 is for the last one only.
    pub eval_every: u64,
    /// Saves a checkpoint after each multiple of this number of steps, and after the last one; 0 is for the last one only.
    pub checkpoint_every: u64,
}

impl Plan {
    /// True if an evaluation follows this step.
    pub fn evaluates_after(&self, step: u64) -> bool {
        self.is_due(self.eval_every, step)
    }

    /// True if a checkpoint follows this step.
    pub fn saves_after(&self, step: u64) -> bool {
        self.is_due(self.checkpoint_every, step)
    }

    fn is_due(&self, every: u64, step: u64) -> bool {
        step == self.steps || (every > 0 && step.is_multiple_of(every))
    }
}

/// The parts of a run, as one process makes them.
pub trait Participant {
    /// The reason for which a part fails, which ends the loop.
    type Error;

    /// Makes one step.
    fn step(&mut self, step: u64) -> Result<(), Self::Error>;

    /// Evaluates after a step, or waits for the process that does. False if a request to stop ended the evaluation.
    fn evaluate(&mut self, step: u64) -> Result<bool, Self::Error>;

    /// True if any process was asked to stop. Asked once a step, by all processes at the same point.
    fn is_stop_requested(&mut self) -> Result<bool, Self::Error>;

    /// Saves a checkpoint of the last step.
    fn save(&mut self) -> Result<(), Self::Error>;
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// After its last step.
    Finished,
    /// On request, after this step, which is saved.
    Stopped(u64),
}

/// Runs the steps after step `done`. A request to stop is answered after the step at hand, with a checkpoint.
///
/// # Errors
/// The first of the participant's.
pub fn run<P: Participant>(plan: &Plan, done: u64, participant: &mut P) -> Result<Ended, P::Error> {
    for step in done + 1..=plan.steps {
        participant.step(step)?;
        let is_evaluated = !plan.evaluates_after(step) || participant.evaluate(step)?;
        let stops = !is_evaluated || (participant.is_stop_requested()? && step < plan.steps);
        if stops || plan.saves_after(step) {
            participant.save()?;
        }
        if stops {
            return Ok(Ended::Stopped(step));
        }
    }
    Ok(Ended::Finished)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Writes down what the loop asks of it. Stops are requested from one step on, or while an evaluation runs.
    #[derive(Default)]
    struct Log {
        parts: Vec<String>,
        last: u64,
        stop_from: Option<u64>,
        evaluation_stops_at: Option<u64>,
        fails_at: Option<u64>,
    }

    impl Participant for Log {
        type Error = String;
        fn step(&mut self, step: u64) -> Result<(), String> {
            self.last = step;
            self.parts.push(format!("step {step}"));
            if self.fails_at == Some(step) { Err(format!("step {step} fails")) } else { Ok(()) }
        }
        fn evaluate(&mut self, step: u64) -> Result<bool, String> {
            self.parts.push(format!("evaluate {step}"));
            Ok(self.evaluation_stops_at != Some(step))
        }
        fn is_stop_requested(&mut self) -> Result<bool, String> {
            Ok(self.stop_from.is_some_and(|from| self.last >= from))
        }
        fn save(&mut self) -> Result<(), String> {
            self.parts.push(format!("save {}", self.last));
            Ok(())
        }
    }

    fn parts(plan: Plan, done: u64, mut log: Log) -> (Result<Ended, String>, String) {
        let ended = run(&plan, done, &mut log);
        (ended, log.parts.join(", "))
    }

    const PLAN: Plan = Plan { steps: 5, eval_every: 2, checkpoint_every: 3 };

    #[test]
    fn what_is_due_follows_its_steps_and_the_last_one() {
        let all = "step 1, step 2, evaluate 2, step 3, save 3, step 4, evaluate 4, step 5, evaluate 5, save 5";
        assert_eq!(parts(PLAN, 0, Log::default()), (Ok(Ended::Finished), all.to_owned()));
        let resumed = "step 4, evaluate 4, step 5, evaluate 5, save 5";
        assert_eq!(parts(PLAN, 3, Log::default()), (Ok(Ended::Finished), resumed.to_owned()));
        assert_eq!(parts(PLAN, 5, Log::default()), (Ok(Ended::Finished), String::new()));
        let never = Plan { steps: 2, eval_every: 0, checkpoint_every: 0 };
        assert_eq!(parts(never, 0, Log::default()).1, "step 1, step 2, evaluate 2, save 2");
    }

    #[test]
    fn a_request_to_stop_saves_the_step_at_hand_and_none_is_left_after_the_last() {
        let stop = |from| Log { stop_from: Some(from), ..Log::default() };
        assert_eq!(parts(PLAN, 0, stop(1)), (Ok(Ended::Stopped(1)), "step 1, save 1".to_owned()));
        assert_eq!(parts(PLAN, 4, stop(5)), (Ok(Ended::Finished), "step 5, evaluate 5, save 5".to_owned()));
        let interrupted = Log { evaluation_stops_at: Some(5), ..Log::default() };
        assert_eq!(parts(PLAN, 4, interrupted), (Ok(Ended::Stopped(5)), "step 5, evaluate 5, save 5".to_owned()));
    }

    #[test]
    fn a_part_that_fails_ends_the_run_and_saves_nothing() {
        let fails = Log { fails_at: Some(3), ..Log::default() };
        assert_eq!(parts(PLAN, 2, fails), (Err("step 3 fails".to_owned()), "step 3".to_owned()));
    }
}
