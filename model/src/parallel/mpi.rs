//! A group over MPI. Each process adds up one part of the numbers, in the order of ranks. Then all parts are gathered by all processes.
//! This has two advantages:
//!
//! - The sums have the same bits as those of every other group, whatever algorithms the MPI uses.
//! - No connection carries more than another.
//!
//! MPI is used on one thread only, that of the group. If a process is lost, MPI itself ends the run.

use super::numbers::Numbers;
use super::processes::Group;
use crate::error::Lost;
use crate::error::{Error, Result};
use mpi::Threading;
use mpi::datatype::PartitionMut;
use mpi::environment::Universe;
use mpi::topology::SimpleCommunicator;
use mpi::traits::{Communicator, CommunicatorCollectives, Equivalence};
use std::ops::AddAssign;

/// A group over MPI.
pub struct MpiGroup {
    world: SimpleCommunicator,
    /// Keeps MPI initialised as long as it lives.
    _universe: Universe,
}

impl MpiGroup {
    /// Joins the group of all processes that mpirun started.
    ///
    /// # Errors
    /// [`Error::Launch`] where MPI is initialised already, or does not allow its use on a thread of this program.
    pub fn join() -> Result<Self> {
        let failed = |text: &str| Error::Launch(format!("MPI {text}"));
        let (universe, threading) = mpi::initialize_with_threading(Threading::Funneled).ok_or_else(|| failed("is at work already"))?;
        if threading < Threading::Funneled {
            return Err(failed("was built for programs of one thread, and this one has several"));
        }
        Ok(Self { world: universe.world(), _universe: universe })
    }

    fn sum_of<T: Equivalence + Default + Copy + AddAssign>(&self, numbers: &mut Vec<T>) {
        let (count, size) = (numbers.len(), self.size());
        if count == 0 {
            return;
        }
        let part = count.div_ceil(size);
        numbers.resize(part * size, T::default());
        let mut received = vec![T::default(); part * size];
        self.world.all_to_all_into(&numbers[..], &mut received[..]);
        let (sums, others) = received.split_at_mut(part);
        for other in others.chunks(part) {
            sums.iter_mut().zip(other).for_each(|(sum, x)| *sum += *x);
        }
        self.world.all_gather_into(&*sums, &mut numbers[..]);
        numbers.truncate(count);
    }
}

impl Group for MpiGroup {
    fn rank(&self) -> usize {
        self.world.rank() as usize
    }
    fn size(&self) -> usize {
        self.world.size() as usize
    }
    fn sum(&mut self, numbers: &mut Numbers) -> Result<(), Lost> {
        match numbers {
            Numbers::F32(numbers) => self.sum_of(numbers),
            Numbers::F64(numbers) => self.sum_of(numbers),
        }
        Ok(())
    }
    fn gather(&mut self, own: Vec<u8>, _: usize) -> Result<Vec<Vec<u8>>, Lost> {
        let mut lengths = vec![0u64; self.size()];
        self.world.all_gather_into(&(own.len() as u64), &mut lengths[..]);
        let starts =
            |lengths: &[u64]| lengths.iter().scan(0, |end, length| Some(std::mem::replace(end, *end + length))).collect::<Vec<u64>>();
        let total: u64 = lengths.iter().sum();
        if total > i32::MAX as u64 {
            let what = format!("cannot gather {total} bytes with the others: MPI counts to {}", i32::MAX);
            return Err(Lost { rank: self.rank(), size: self.size(), what, told_by_first: false });
        }
        let counts: Vec<i32> = lengths.iter().map(|&length| length as i32).collect();
        let displacements: Vec<i32> = starts(&lengths).into_iter().map(|start| start as i32).collect();
        let mut all = vec![0u8; total as usize];
        // MPI takes no empty buffers.
        if total > 0 {
            self.world.all_gather_varcount_into(&own[..], &mut PartitionMut::new(&mut all[..], counts, displacements));
        }
        let mut rest = all.as_slice();
        let parts = lengths.iter().map(|&length| {
            let (part, more) = rest.split_at(length as usize);
            rest = more;
            part.to_vec()
        });
        Ok(parts.collect())
    }
    fn fail(&mut self, _: &str) {
        // The reason has been shown. MPI cannot send it to the other processes and ends them.
        self.world.abort(1);
    }
}
