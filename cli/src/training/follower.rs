//! The processes after the first: they make the same steps on their shares of the rows. The first one writes and speaks for all.

use super::job::Job;
use crate::failure::Failure;
use crate::processes;
use engine::Device;
use model::train::{Participant, Trainer};

/// A process after the first.
pub struct Follower<'a> {
    job: &'a mut dyn Job,
    trainer: &'a mut Trainer<Device>,
}

impl<'a> Follower<'a> {
    /// A follower before its first step.
    pub fn new(job: &'a mut dyn Job, trainer: &'a mut Trainer<Device>) -> Self {
        Self { job, trainer }
    }
}

impl Participant for Follower<'_> {
    type Error = Failure;

    fn step(&mut self, step: u64) -> Result<(), Failure> {
        self.job.step(self.trainer, step).map(drop)
    }

    fn evaluate(&mut self, _step: u64) -> Result<bool, Failure> {
        processes::wait_for_first()
    }

    fn is_stop_requested(&mut self) -> Result<bool, Failure> {
        Ok(processes::stop_requested()?)
    }

    fn save(&mut self) -> Result<(), Failure> {
        Ok(())
    }
}
