//! Data parallel training: several processes, each with the whole model and a share of every batch.
//!
//! | module | what |
//! |---|---|
//! | [`launch`] | which process this is: the environment that torchrun and mpirun set |
//! | [`processes`] | sums and gatherings of a group of processes: any thread requests them, one thread runs them |
//! | [`tcp`] | a group over TCP, which needs nothing but a network |
//! | `mpi` | a group over MPI (feature `mpi`) |
//! | [`share`] | which process has which rows of a batch |
//! | [`exchange`], [`buckets`], [`nccl`] | sums of gradients during the backward pass: through the host's memory, or from GPU to GPU |
//! | [`start`] | brings every process to the same step, weights and settings |
//!
//! Losses, weights and gradients are sums over rows. They are added up over the processes in the order of their ranks and divided by the
//! weight of the whole batch. So several processes compute what one process computes with more micro-batches:
//!
//! - With one micro-batch per process, the sums have the same bits as one process that accumulates over all micro-batches.
//! - With more, the order of the additions differs.
//! - NCCL adds gradients in an order of its own, which changes the bits from three processes on.

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

pub use crate::error::Lost;
pub use exchange::{DeviceSums, Exchange, HostExchange};
pub use launch::Launch;
pub use numbers::Numbers;
pub use processes::{Group, Processes};
pub use share::Share;

use crate::decoder::Decoder;
use crate::error::Result;
use engine::{Backend, Gradients, Tensor};
use std::collections::HashMap;

/// The parts of a trainer that is one of several: the group of processes and the way gradients are added up.
pub struct Parallel<B: Backend> {
    /// The group.
    pub processes: Processes,
    /// How gradients are added up.
    pub exchange: Box<dyn Exchange<B>>,
}

impl<B: Backend> Parallel<B> {
    /// Makes the parts that add gradients up through the host's memory, on any backend.
    pub fn through_host(processes: Processes, decoder: &Decoder<B>) -> Self {
        let exchange = Box::new(HostExchange::new(processes.clone(), decoder));
        Self { processes, exchange }
    }

    /// Adds up this process's sums over all processes. Returns (loss, weight) of the whole batch.
    ///
    /// # Errors
    /// Where another process is lost.
    pub fn whole_batch(&self, loss: f64, weight: f64) -> Result<(f64, f64)> {
        let sums = self.processes.sum(&[loss, weight])?;
        Ok((sums[0], sums[1]))
    }

    /// Computes the gradient of the whole batch. Runs the backward pass of this process's last micro-batch, adds `before` (the gradient of
    /// its other micro-batches) and adds up over the processes. Buckets are sent while the backward pass is still running.
    ///
    /// # Errors
    /// Where another process is lost.
    pub fn backward(&mut self, decoder: &Decoder<B>, loss: Tensor<B>, before: Option<Gradients<B>>) -> Result<Gradients<B>> {
        self.put_gradients(decoder, loss, before);
        self.sums(decoder)
    }

    /// True if sums are formed on the device. The host can then decide about a step without waiting for them.
    pub fn is_queued(&mut self) -> bool {
        self.exchange.on_device().is_some()
    }

    /// Like [`Parallel::backward`], and also adds up losses and weights. `own` is this process's loss, one number on the device, with the
    /// weight of its rows. Returns the gradient, each process's loss in the order of ranks, and the weight of the whole batch.
    ///
    /// # Errors
    /// As [`Parallel::backward`], and [`Error::Cuda`](crate::Error::Cuda).
    ///
    /// # Panics
    /// Where sums are formed through the host.
    pub fn backward_on_device(
        &mut self,
        decoder: &Decoder<B>,
        loss: Tensor<B>,
        before: Option<Gradients<B>>,
        (own, weight): (&B::Array, f64),
    ) -> Result<(Gradients<B>, Vec<B::Array>, f64)> {
        let (backend, rank, size) = (decoder.backend(), self.processes.rank(), self.processes.size());
        // Each process has an element of its own and adds 0 to the others, so that the sum keeps the bits of each loss.
        let places: Vec<B::Array> =
            (0..size).map(|place| if place == rank { backend.reshape(own, &[1]) } else { backend.full(0.0, &[1]) }).collect();
        let own = backend.concat(&places.iter().collect::<Vec<_>>(), 0);
        self.put_gradients(decoder, loss, before);
        let losses = self.exchange.on_device().expect("sums on the device").add_up(own)?;
        let weight = self.processes.sum(&[weight])?[0];
        let gradients = self.sums(decoder)?;
        Ok((gradients, (0..size).map(|rank| backend.slice(&losses, 0, rank, rank + 1)).collect(), weight))
    }

    /// Runs the backward pass from a loss and hands each gradient to the exchange as soon as it is final.
    fn put_gradients(&mut self, decoder: &Decoder<B>, loss: Tensor<B>, before: Option<Gradients<B>>) {
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
    }

    /// Returns the sums of the gradients that were handed to the exchange.
    fn sums(&mut self, decoder: &Decoder<B>) -> Result<Gradients<B>> {
        let sums = self.exchange.finish()?;
        let present = decoder.parameters().into_iter().zip(sums).filter_map(|(parameter, sum)| Some((&parameter.tensor, sum?)));
        Ok(Gradients::of_arrays(decoder.backend(), present))
    }
}
