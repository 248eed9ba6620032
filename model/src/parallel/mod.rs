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
//! A process is to its batch what a set of micro-batches is: losses, weights and gradients are sums over rows, added up over the processes
//! in the order of their ranks and divided by the weight of the whole batch. With one micro-batch a process, the sums have the very bits of
//! one process that accumulates over as many; with more, the order of the additions is another one. NCCL adds gradients in an order of its
//! own, which shows from three processes on.

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

    /// The gradient of the whole batch: this process's last micro-batch walked back, `before` (that of its others) added, and the same of
    /// all processes, in buckets that are on their way while the walk goes on.
    ///
    /// # Errors
    /// Where another process is lost.
    pub fn backward(&mut self, decoder: &Decoder<B>, loss: Tensor<B>, before: Option<Gradients<B>>) -> Result<Gradients<B>> {
        self.put_gradients(decoder, loss, before);
        self.sums(decoder)
    }

    /// True if sums are formed on the device, so that the host can decide about a step without waiting for it.
    pub fn is_queued(&mut self) -> bool {
        self.exchange.on_device().is_some()
    }

    /// As [`Parallel::backward`], with this process's `own` loss, one number on the device, and the weight of its rows: the gradient, each
    /// process's loss in the order of ranks, and the weight of the whole batch.
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
        // A place for each process: what is added to a number there is 0, so that the sum has its very bits.
        let places: Vec<B::Array> =
            (0..size).map(|place| if place == rank { backend.reshape(own, &[1]) } else { backend.full(0.0, &[1]) }).collect();
        let own = backend.concat(&places.iter().collect::<Vec<_>>(), 0);
        self.put_gradients(decoder, loss, before);
        let losses = self.exchange.on_device().expect("sums on the device").add_up(own)?;
        let weight = self.processes.sum(&[weight])?[0];
        let gradients = self.sums(decoder)?;
        Ok((gradients, (0..size).map(|rank| backend.slice(&losses, 0, rank, rank + 1)).collect(), weight))
    }

    /// Walks back from a loss, handing out gradients as they are final.
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

    /// The sums of the gradients that were handed out.
    fn sums(&mut self, decoder: &Decoder<B>) -> Result<Gradients<B>> {
        let sums = self.exchange.finish()?;
        let present = decoder.parameters().into_iter().zip(sums).filter_map(|(parameter, sum)| Some((&parameter.tensor, sum?)));
        Ok(Gradients::of_arrays(decoder.backend(), present))
    }
}
