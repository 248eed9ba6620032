//! Data parallel training: several processes, each with the whole model and a share of every batch.
//!
//! | module | what |
//! |---|---|
//! | [`launch`] | which process this is: the environment that torchrun and mpirun set |
//! | [`processes`] | what a group of processes does together, asked for by any thread and done on one |
//! | [`tcp`] | a group over TCP, which needs nothing but a network |
//! | `mpi` | a group over MPI (feature `mpi`) |
//! | [`share`] | which rows of a batch are whose |
//! | [`exchange`], [`buckets`], [`nccl`] | sums of gradients while the backward pass goes on: through the host's memory, or from GPU to GPU |
//! | [`start`] | every process at the same step with the same weights and settings |
//!
//! A process is to its batch what a set of micro-batches is: losses, weights and gradients are sums over rows, added up over the processes in
//! the order of their ranks and divided by the weight of the whole batch. With one micro-batch a process, the sums have the
//! very bits of one process that accumulates over as many; with more, the order of the additions is another one.

pub mod buckets;
pub mod exchange;
pub mod launch;
#[cfg(feature = "mpi")]
pub mod mpi;
pub mod nccl;
pub mod numbers;
pub mod processes;
pub mod share;
pub mod start;
pub mod tcp;

pub use exchange::{Exchange, HostExchange};
pub use launch::Launch;
pub use numbers::Numbers;
pub use processes::{Group, Lost, Processes};
pub use share::Share;

use crate::decoder::Decoder;
use crate::error::Result;
use engine::{Backend, Gradients, Tensor};
use std::collections::HashMap;

/// What a trainer that is one of several has besides: the others, and the way gradients are added up with theirs.
pub struct Parallel<B: Backend> {
    /// The group.
    pub processes: Processes,
    /// How gradients are added up.
    pub exchange: Box<dyn Exchange<B>>,
}

impl<B: Backend> Parallel<B> {
    /// Gradients that are added up through the host's memory, on any backend.
    pub fn through_host(processes: Processes, decoder: &Decoder<B>) -> Self {
        let exchange = Box::new(HostExchange::new(processes.clone(), decoder));
        Self { processes, exchange }
    }

    /// (loss, weight) of the whole batch, from this process's sums.
    ///
    /// # Errors
    /// Where another process is lost.
    pub fn whole_batch(&self, loss: f64, weight: f64) -> Result<(f64, f64)> {
        let sums = self.processes.sum(&[loss, weight])?;
        Ok((sums[0], sums[1]))
    }

    /// Are the sums over the processes formed on the device, so that what a step depends on never need come to the host?
    pub fn is_queued(&self) -> bool {
        self.exchange.is_queued()
    }

    /// As [`Parallel::whole_batch`], with the loss where it is: what comes back holds that of the whole batch once [`Parallel::backward`] has
    /// returned.
    ///
    /// # Errors
    /// Where another process is lost.
    pub fn whole_batch_on_device(&mut self, loss: B::Array, weight: f64) -> Result<(B::Array, f64)> {
        Ok((self.exchange.add_up(loss)?, self.processes.sum(&[weight])?[0]))
    }

    /// The gradient of the whole batch: this process's last micro-batch walked back, `before` (that of its others) added, and the same of all
    /// processes, in buckets that are on their way while the walk goes on.
    ///
    /// # Errors
    /// Where another process is lost.
    pub fn backward(&mut self, decoder: &Decoder<B>, loss: Tensor<B>, before: Option<Gradients<B>>) -> Result<Gradients<B>> {
        let (backend, parameters) = (decoder.backend(), decoder.parameters());
        let places: HashMap<u64, usize> = parameters.iter().enumerate().filter_map(|(place, p)| Some((p.tensor.id()?, place))).collect();
        let mut before: Vec<Option<B::Array>> = match before {
            Some(mut gradients) => parameters.iter().map(|parameter| gradients.take(&parameter.tensor)).collect(),
            None => parameters.iter().map(|_| None).collect(),
        };
        loss.backward_into(|id, gradient| {
            let Some(&place) = places.get(&id) else { return };
            let gradient = match before[place].take() {
                Some(before) => backend.accumulate(before, &gradient),
                None => gradient,
            };
            self.exchange.put(place, gradient);
        });
        for (place, gradient) in before.into_iter().enumerate() {
            gradient.into_iter().for_each(|gradient| self.exchange.put(place, gradient));
        }
        let sums = self.exchange.finish()?;
        let present = parameters.into_iter().zip(sums).filter_map(|(parameter, sum)| Some((&parameter.tensor, sum?)));
        Ok(Gradients::of_arrays(backend, present))
    }
}
