//! Sums over processes: of gradients, which begin during the backward pass, and of losses.

use super::buckets::{BUCKET_BYTES, Buckets};
use super::numbers::Numbers;
use super::processes::{Pending, Processes};
use crate::decoder::Decoder;
use crate::error::Result;
use engine::Backend;

/// A way to add up the gradients of a step over the processes. Parameters are numbered by their place in [`Decoder::parameters`].
pub trait Exchange<B: Backend> {
    /// Returns the sums on the device, if they are formed there while the host continues. Work that depends on them can then be queued too.
    fn on_device(&mut self) -> Option<&mut dyn DeviceSums<B>> {
        None
    }

    /// Takes a parameter's gradient, at most once a step.
    fn put(&mut self, place: usize, gradient: B::Array);

    /// Returns the sums, once every gradient of the step has been given. Entries are `None` for parameters without a gradient in any
    /// process. Ends the step.
    ///
    /// # Errors
    /// If another process is lost.
    fn finish(&mut self) -> Result<Vec<Option<B::Array>>>;
}

/// Sums for which the host need not wait.
pub trait DeviceSums<B: Backend> {
    /// Begins to add up an array that is not a gradient. All processes pass the same shape at the same point of the step. The returned
    /// array holds the sum once [`Exchange::finish`] has returned.
    ///
    /// # Errors
    /// [`Error::Cuda`](crate::Error::Cuda); where another process is lost.
    fn add_up(&mut self, array: B::Array) -> Result<B::Array>;
}

/// Finds the parameters that have a gradient in any process. A process without one adds zeros, because all sums must have the same length.
///
/// # Errors
/// Where another process is lost.
pub(super) fn present(processes: &Processes, own: &[bool]) -> Result<Vec<bool>> {
    let own: Vec<f64> = own.iter().map(|&present| f64::from(u8::from(present))).collect();
    Ok(processes.sum(&own)?.into_iter().map(|count| count > 0.0).collect())
}

/// Sums through the host's memory, on the group's own thread: for any backend and any group.
pub struct HostExchange<B: Backend> {
    backend: B,
    processes: Processes,
    shapes: Vec<Vec<usize>>,
    buckets: Buckets<Vec<B::Scalar>>,
    put: Vec<bool>,
    /// Buckets that are being summed, with their places.
    pending: Vec<(Vec<usize>, Pending<Numbers>)>,
}

impl<B: Backend> HostExchange<B> {
    /// Makes an exchange for the parameters of this decoder.
    pub fn new(processes: Processes, decoder: &Decoder<B>) -> Self {
        Self::with_buckets(processes, decoder, BUCKET_BYTES)
    }

    /// Makes an exchange with buckets of another size in bytes.
    pub fn with_buckets(processes: Processes, decoder: &Decoder<B>, bucket_bytes: usize) -> Self {
        let shapes: Vec<Vec<usize>> = decoder.parameters().iter().map(|parameter| parameter.tensor.shape().to_vec()).collect();
        let sizes: Vec<usize> = shapes.iter().map(|shape| length(shape) * size_of::<B::Scalar>()).collect();
        let (buckets, put) = (Buckets::new(&sizes, bucket_bytes), vec![false; sizes.len()]);
        Self { backend: decoder.backend().clone(), processes, shapes, buckets, put, pending: Vec::new() }
    }

    fn add(&mut self, place: usize, elements: Vec<B::Scalar>) {
        for bucket in self.buckets.put(place, elements) {
            let (places, mut parts): (Vec<usize>, Vec<Vec<B::Scalar>>) = bucket.into_iter().unzip();
            let elements = if parts.len() == 1 { parts.swap_remove(0) } else { parts.concat() };
            self.pending.push((places, self.processes.begin_sum(Numbers::of(elements))));
        }
    }
}

fn length(shape: &[usize]) -> usize {
    shape.iter().product()
}

impl<B: Backend> Exchange<B> for HostExchange<B> {
    fn put(&mut self, place: usize, gradient: B::Array) {
        self.put[place] = true;
        let elements = self.backend.to_vec(&gradient);
        self.add(place, elements);
    }

    fn finish(&mut self) -> Result<Vec<Option<B::Array>>> {
        for place in self.buckets.missing() {
            self.add(place, vec![B::Scalar::default(); length(&self.shapes[place])]);
        }
        self.buckets.reset();
        let put = std::mem::replace(&mut self.put, vec![false; self.shapes.len()]);
        let (mut sums, pending): (Vec<Option<B::Array>>, _) = (vec![None; put.len()], std::mem::take(&mut self.pending));
        let present = present(&self.processes, &put);
        for (places, sum) in pending {
            let elements = sum.wait()?.into_elements::<B::Scalar>();
            let mut start = 0;
            for place in places {
                let end = start + length(&self.shapes[place]);
                sums[place] = Some(self.backend.from_vec(elements[start..end].to_vec(), &self.shapes[place]));
                start = end;
            }
        }
        let absent = present?.into_iter().enumerate().filter(|(_, present)| !present);
        absent.for_each(|(place, _)| sums[place] = None);
        Ok(sums)
    }
}
