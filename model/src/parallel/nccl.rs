//! Sums of gradients from GPU to GPU, concurrent with the kernels of the backward pass.

use super::Parallel;
use super::buckets::{BUCKET_BYTES, Buckets};
use super::exchange::{DeviceSums, Exchange, present};
use super::processes::Processes;
use crate::decoder::Decoder;
use crate::error::{Error, Result};
use engine::backend::Core;
use engine::backend::cuda::{CudaArray, Nccl, UniqueId};
use engine::backend::device::DeviceArray;
use engine::{CudaError, Device};

impl Parallel<Device> {
    /// Makes the parts that add gradients up where they are stored: by NCCL on GPUs, and through the host's memory on CPUs.
    ///
    /// # Errors
    /// [`Error::Cuda`] where NCCL is not there or does not start; where another process is lost.
    pub fn on_device(processes: Processes, decoder: &Decoder<Device>) -> Result<Self> {
        match decoder.backend() {
            Device::Cpu(_) => Ok(Self::through_host(processes, decoder)),
            Device::Cuda(_) => {
                let exchange = Box::new(NcclExchange::join(processes.clone(), decoder)?);
                Ok(Self { processes, exchange })
            }
        }
    }
}

/// Sums by NCCL. The group connects the processes, and notices if one is lost.
pub struct NcclExchange {
    device: Device,
    processes: Processes,
    shapes: Vec<Vec<usize>>,
    buckets: Buckets<CudaArray>,
    put: Vec<bool>,
    sums: Vec<Option<DeviceArray>>,
    nccl: Nccl,
    /// The error that prevented a sum.
    failed: Option<CudaError>,
}

impl NcclExchange {
    /// Joins the other processes' GPUs.
    ///
    /// # Errors
    /// [`Error::Cuda`] where the decoder is not on a GPU, or NCCL is not there or does not start; where another process is lost.
    pub fn join(processes: Processes, decoder: &Decoder<Device>) -> Result<Self> {
        let device = decoder.backend().clone();
        let Device::Cuda(cuda) = &device else { return Err(Error::Cuda(CudaError::NoDevice)) };
        let id = if processes.rank() == 0 { Nccl::unique_id().map_err(Error::Cuda)?.to_vec() } else { Vec::new() };
        let id = processes.gather(id)?.swap_remove(0);
        let id: UniqueId = id.try_into().map_err(|_| Error::bad_config("NCCL's id has another length: another version of slpo?"))?;
        let nccl = Nccl::join(cuda, &id, processes.rank(), processes.size()).map_err(Error::Cuda)?;
        let shapes: Vec<Vec<usize>> = decoder.parameters().iter().map(|parameter| parameter.tensor.shape().to_vec()).collect();
        let sizes: Vec<usize> = shapes.iter().map(|shape| shape.iter().product::<usize>() * size_of::<f32>()).collect();
        let (buckets, put, sums) = (Buckets::new(&sizes, BUCKET_BYTES), vec![false; sizes.len()], vec![None; sizes.len()]);
        Ok(Self { device, processes, shapes, buckets, put, sums, nccl, failed: None })
    }

    fn add(&mut self, place: usize, gradient: DeviceArray) {
        for bucket in self.buckets.put(place, on_gpu(gradient)) {
            let (places, arrays): (Vec<usize>, Vec<CudaArray>) = bucket.into_iter().unzip();
            match self.nccl.begin_sum(arrays) {
                Ok(sums) => places.into_iter().zip(sums).for_each(|(place, sum)| self.sums[place] = Some(sum.into())),
                Err(error) => self.failed = Some(error),
            }
        }
    }
}

/// Returns the array on the GPU.
fn on_gpu(array: DeviceArray) -> CudaArray {
    let DeviceArray::Cuda(array) = array else { panic!("an array of the processor in a sum over GPUs") };
    array
}

impl DeviceSums<Device> for NcclExchange {
    fn add_up(&mut self, array: DeviceArray) -> Result<DeviceArray> {
        let sum = self.nccl.begin_sum(vec![on_gpu(array)]).map_err(Error::Cuda)?.swap_remove(0);
        Ok(sum.into())
    }
}

impl Exchange<Device> for NcclExchange {
    fn on_device(&mut self) -> Option<&mut dyn DeviceSums<Device>> {
        Some(self)
    }

    fn put(&mut self, place: usize, gradient: DeviceArray) {
        self.put[place] = true;
        self.add(place, gradient);
    }

    fn finish(&mut self) -> Result<Vec<Option<DeviceArray>>> {
        for place in self.buckets.missing() {
            self.add(place, self.device.full(0.0, &self.shapes[place]));
        }
        self.buckets.reset();
        let finished = self.nccl.finish();
        self.failed.take().map_or(finished, Err).map_err(Error::Cuda)?;
        let count = self.shapes.len();
        let put = std::mem::replace(&mut self.put, vec![false; count]);
        let mut sums = std::mem::replace(&mut self.sums, vec![None; count]);
        let absent = present(&self.processes, &put)?.into_iter().enumerate().filter(|(_, present)| !present);
        absent.for_each(|(place, _)| sums[place] = None);
        Ok(sums)
    }
}
