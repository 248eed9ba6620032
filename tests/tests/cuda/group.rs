//! Steps of several processes, with sums through the host, by NCCL, and on one device that threads share.

use crate::{devices, is_emulated, trainer, with_precision};
use engine::backend::Add;
use engine::backend::cuda::Nccl;
use engine::backend::device::DeviceArray;
use engine::{Backend, Cuda, Device, Precision, Tensor};
use model::batch::Batch;
use model::config::Config;
use model::decoder::{Decoder, ForwardOptions};
use model::optimizer::{Rule, Schedule};
use model::parallel::launch::Place;
use model::parallel::tcp::TcpGroup;
use model::parallel::{Exchange, Parallel, Processes};
use model::train::{OnNonFinite, Trainer};
use slpo_tests::{free_port, normal, normal_parameter};
use std::sync::{Arc, Barrier, Mutex};
use std::time::Duration;

/// The weights after three steps of a small decoder, each of two micro-batches, on this device: alone, or in a group of one.
fn trained(device: &Device, group: bool) -> Vec<f64> {
    let config = Config { vocab_size: 32, layers: 2, ..Config::preset("nano").unwrap() };
    let schedule = Schedule { learning_rate: 1e-2, warmup: 0, steps: 3, final_fraction: 1.0 };
    let mut trainer = Trainer::new(Decoder::random(device, &config, 3).unwrap(), Rule::default(), schedule, 1.0);
    let place = Place { rank: 0, size: 1, host: String::new(), port: 0, join_limit: Duration::ZERO };
    let join = || Processes::join(move || TcpGroup::join(&place), |lost| panic!("{lost}")).unwrap();
    trainer.parallel = group.then(|| match device {
        Device::Cuda(cuda) if is_emulated(cuda) => Parallel::through_host(join(), &trainer.decoder),
        _ => Parallel::on_device(join(), &trainer.decoder).unwrap(),
    });
    for step in 0..3u32 {
        let windows: Vec<Vec<u32>> = (0..4).map(|row| (0..20).map(|i| (i * (step + 2) + row * 5) % 32).collect()).collect();
        let outcome = trainer.step(2, |decoder, index| {
            let batch = Batch::of_windows(windows[2 * index..2 * index + 2].iter().map(Vec::as_slice));
            Ok((batch.loss(decoder, &ForwardOptions::default()), batch.target_count() as f64))
        });
        assert!(outcome.unwrap().loss.is_finite());
    }
    trainer.decoder.parameters().into_iter().flat_map(|parameter| parameter.tensor.to_f64()).collect()
}

/// All of NCCL's path but the other GPUs.
#[test]
fn steps_through_nccl_in_a_group_of_one_have_the_bits_of_steps_alone() {
    let cuda = match Cuda::open(0, Default::default()) {
        Ok(cuda) => cuda,
        Err(error) => return println!("skipped: no CUDA device: {error}"),
    };
    let id = match Nccl::unique_id() {
        Ok(id) => id,
        Err(error) => return println!("skipped: {error}"),
    };
    let mut nccl = Nccl::join(&cuda, &id, 0, 1).unwrap();
    let values = |x: &Tensor<Cuda>| cuda.to_vec(x.array());
    let (x, y) = (normal_parameter(&cuda, 1, &[1000, 300]), normal_parameter(&cuda, 2, &[7]));
    // One array that the sum may overwrite, one that is used elsewhere, one that is no whole block.
    let own = cuda.scale(x.array(), 2.0);
    let expected = [cuda.to_vec(&own), values(&y), cuda.to_vec(&cuda.permute(x.array(), &[1, 0]))];
    let sums = nccl.begin_sum(vec![own, y.array().clone(), cuda.permute(x.array(), &[1, 0])]).unwrap();
    nccl.finish().unwrap();
    assert_eq!(sums.iter().map(|sum| cuda.to_vec(sum)).collect::<Vec<_>>(), expected);
    assert_eq!((values(&x), values(&y)), (normal(1, 300_000).iter().map(|x| *x as f32).collect(), expected[1].clone()));
    let device = Device::Cuda(cuda);
    assert!(trained(&device, true) == trained(&device, false));
}

/// A group on another kind of device goes through the host, which then decides each step; a GPU that is none is refused in words.
#[test]
fn without_a_gpu_a_group_of_one_has_the_bits_of_steps_alone() {
    let processor = Device::default();
    assert!(trained(&processor, true) == trained(&processor, false));
    for device in devices() {
        let Device::Cuda(cuda) = device else { continue };
        if !is_emulated(cuda) {
            continue;
        }
        assert!(trained(device, true) == trained(device, false), "decided on the host and on the device");
        let refused = Nccl::join(cuda, &[0; 128], 0, 1).err().map(|error| error.to_string());
        assert!(refused.is_some_and(|text| text.starts_with("CUDA: ")));
    }
}

/// Where the processes of [`SharedDevice`] meet: what each brings.
struct Meeting {
    all_there: Barrier,
    brought: Mutex<Vec<Vec<DeviceArray>>>,
}

/// Sums over processes that are threads of this one and share its device: there, in the order of ranks, as NCCL sums on GPUs of their own.
struct SharedDevice {
    rank: usize,
    device: Device,
    meeting: Arc<Meeting>,
    gradients: Vec<Option<DeviceArray>>,
}

impl SharedDevice {
    fn sums(&self, own: Vec<DeviceArray>) -> Vec<DeviceArray> {
        self.meeting.brought.lock().unwrap()[self.rank] = own;
        self.meeting.all_there.wait();
        let brought = self.meeting.brought.lock().unwrap().clone();
        self.meeting.all_there.wait();
        let add =
            |sums: Vec<DeviceArray>, more: Vec<DeviceArray>| sums.iter().zip(&more).map(|(a, b)| self.device.zip(Add, a, b)).collect();
        brought.into_iter().reduce(add).unwrap()
    }
}

impl Exchange<Device> for SharedDevice {
    fn is_queued(&self) -> bool {
        true
    }
    fn add_up(&mut self, array: DeviceArray) -> model::Result<DeviceArray> {
        Ok(self.sums(vec![array]).swap_remove(0))
    }
    fn put(&mut self, place: usize, gradient: DeviceArray) {
        self.gradients[place] = Some(gradient);
    }
    fn finish(&mut self) -> model::Result<Vec<Option<DeviceArray>>> {
        let own = self.gradients.iter_mut().map(|gradient| gradient.take().unwrap()).collect();
        Ok(self.sums(own).into_iter().map(Some).collect())
    }
}

/// The weights after three steps, the last of which is not finite in the second process alone, of a process of a group of threads.
fn trained_in_group(cuda: &Cuda, rank: usize, meeting: &Arc<Meeting>, (port, before): (u16, usize)) -> Vec<f64> {
    let device = Device::Cuda(cuda.clone());
    let mut trainer = trainer(&device);
    let gradients = vec![None; trainer.decoder.parameters().len()];
    let place = Place { rank, size: 2, host: "127.0.0.1".to_owned(), port, join_limit: Duration::from_secs(60) };
    let processes = Processes::join(move || TcpGroup::join(&place), |lost| panic!("{lost}")).unwrap();
    let exchange = Box::new(SharedDevice { rank, device, meeting: meeting.clone(), gradients });
    trainer.parallel = Some(Parallel { processes: processes.clone(), exchange });
    trainer.on_non_finite = OnNonFinite::Skip;
    for _ in 0..2 {
        trainer.step(1, |decoder, _| Ok(loss_of_row(decoder, rank, false))).unwrap();
    }
    meeting.all_there.wait();
    assert_eq!(cuda.waits() - before, 2 * 2, "once for each process and step");
    meeting.all_there.wait();
    let outcome = trainer.step(1, |decoder, _| Ok(loss_of_row(decoder, rank, rank == 1))).unwrap();
    assert!(outcome.skipped.is_some(), "every process skips what one cannot make");
    processes.meet().unwrap();
    processes.leave(None);
    trainer.decoder.parameters().into_iter().flat_map(|parameter| parameter.tensor.to_f64()).collect()
}

/// The loss of a row of tokens with its weight.
fn loss_of_row(decoder: &Decoder<Device>, row: usize, spoiled: bool) -> (Tensor<Device>, f64) {
    let tokens: Vec<u32> = (0..20).map(|i| (i * 3 + 5 * row as u32) % 32).collect();
    let batch = Batch::of_windows([&tokens[..]]);
    let loss = batch.loss(decoder, &ForwardOptions::default());
    (if spoiled { loss.scale(1e38).scale(1e38) } else { loss }, batch.target_count() as f64)
}

/// Two processes whose sums stay on the device each wait once a step, and come to the weights of one process with both their rows.
#[test]
fn a_group_whose_sums_stay_on_the_device_decides_there() {
    for device in [Precision::F32, Precision::Bf16].into_iter().flat_map(with_precision) {
        let Device::Cuda(cuda) = &device else { continue };
        let mut alone = trainer(&device);
        for _ in 0..2 {
            alone.step(2, |decoder, row| Ok(loss_of_row(decoder, row, false))).unwrap();
        }
        let alone: Vec<f64> = alone.decoder.parameters().into_iter().flat_map(|parameter| parameter.tensor.to_f64()).collect();
        let meeting = Arc::new(Meeting { all_there: Barrier::new(2), brought: Mutex::new(vec![Vec::new(); 2]) });
        let (port, before) = (free_port(), cuda.waits());
        let group: Vec<Vec<f64>> = std::thread::scope(|scope| {
            let threads = [0, 1].map(|rank| {
                scope.spawn({
                    let meeting = &meeting;
                    move || trained_in_group(cuda, rank, meeting, (port, before))
                })
            });
            threads.map(|thread| thread.join().unwrap()).into()
        });
        assert!(group[0] == alone && group[1] == alone, "{}", cuda.name());
    }
}
