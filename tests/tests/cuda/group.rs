//! Steps of several processes, with sums through the host, by NCCL, and on one device that threads share.

use crate::{devices, is_emulated, trainer_by, weights, with_precision};
use engine::backend::cuda::Nccl;
use engine::backend::device::DeviceArray;
use engine::backend::{Add, Core};
use engine::{Cuda, Device, Precision, Tensor};
use model::batch::Batch;
use model::config::Config;
use model::decoder::{Decoder, ForwardOptions};
use model::optimizer::{Rule, Schedule};
use model::parallel::launch::Place;
use model::parallel::tcp::TcpGroup;
use model::parallel::{DeviceSums, Exchange, Parallel, Processes};
use model::train::{OnNonFinite, StepOutcome, Trainer};
use slpo_tests::{free_port, normal, normal_parameter};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

/// The weights after three steps of a small decoder, each of two micro-batches, on this device: alone, or in a group of one.
fn trained(device: &Device, group: bool) -> Vec<f64> {
    let config = Config { vocab_size: 32, layers: 2, ..Config::preset("nano").unwrap() };
    let schedule = Schedule { learning_rate: 1e-2, warmup: 0, steps: 3, final_fraction: 1.0 };
    let mut trainer = Trainer::new(Decoder::random(device, &config, 3).unwrap(), Rule::default(), schedule, 1.0);
    let place = Place { rank: 0, size: 1, host: String::new(), port: 0, join_limit: Duration::ZERO, secret: None };
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
    weights(&trainer)
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

/// Sums over two processes that are threads of this one and share its device: there, in the order of ranks, as NCCL sums on GPUs of their
/// own.
struct SharedDevice {
    rank: usize,
    device: Device,
    to_other: Sender<Vec<DeviceArray>>,
    from_other: Receiver<Vec<DeviceArray>>,
    gradients: Vec<Option<DeviceArray>>,
}

impl SharedDevice {
    fn sums(&self, own: Vec<DeviceArray>) -> Vec<DeviceArray> {
        self.to_other.send(own.clone()).unwrap();
        let other = self.from_other.recv_timeout(Duration::from_secs(60)).unwrap();
        let [first, second] = if self.rank == 0 { [own, other] } else { [other, own] };
        first.iter().zip(&second).map(|(a, b)| self.device.zip(Add, a, b)).collect()
    }
}

impl DeviceSums<Device> for SharedDevice {
    fn add_up(&mut self, array: DeviceArray) -> model::Result<DeviceArray> {
        Ok(self.sums(vec![array]).swap_remove(0))
    }
}

impl Exchange<Device> for SharedDevice {
    fn on_device(&mut self) -> Option<&mut dyn DeviceSums<Device>> {
        Some(self)
    }
    fn put(&mut self, place: usize, gradient: DeviceArray) {
        self.gradients[place] = Some(gradient);
    }
    fn finish(&mut self) -> model::Result<Vec<Option<DeviceArray>>> {
        let own = self.gradients.iter_mut().map(|gradient| gradient.take().unwrap()).collect();
        Ok(self.sums(own).into_iter().map(Some).collect())
    }
}

/// The rows of each process, a micro-batch each.
const ROWS: [&[usize]; 2] = [&[0, 1], &[2]];

/// The loss of a row of tokens, which are more in every row, with its weight.
fn loss_of_row(decoder: &Decoder<Device>, row: usize) -> (Tensor<Device>, f64) {
    let tokens: Vec<u32> = (0..20 + 3 * row as u32).map(|i| (i * 3 + 5 * row as u32) % 32).collect();
    let batch = Batch::of_windows([&tokens[..]]);
    (batch.loss(decoder, &ForwardOptions::default()), batch.target_count() as f64)
}

/// What came of the steps of a process, how often both waited for them, and the weights after them.
struct Steps {
    outcomes: Vec<StepOutcome>,
    waits: usize,
    weights: Vec<f64>,
}

impl Steps {
    /// Two steps over these rows.
    fn of(trainer: &mut Trainer<Device>, rows: &[usize]) -> Self {
        let mut step = || trainer.step(rows.len(), |decoder, index| Ok(loss_of_row(decoder, rows[index]))).unwrap();
        let outcomes = vec![step(), step()];
        Self { outcomes, waits: 0, weights: weights(trainer) }
    }
}

/// The steps of a process of two, then one that is not finite in the second process alone, which both must pass over.
fn steps_in_group(cuda: &Cuda, rule: Rule, mut exchange: SharedDevice, port: u16) -> Steps {
    let (rank, device) = (exchange.rank, Device::Cuda(cuda.clone()));
    let mut trainer = trainer_by(rule, &device);
    exchange.gradients = vec![None; trainer.decoder.parameters().len()];
    let place = Place { rank, size: 2, host: "127.0.0.1".to_owned(), port, join_limit: Duration::from_secs(60), secret: None };
    let processes = Processes::join(move || TcpGroup::join(&place), |lost| panic!("{lost}")).unwrap();
    trainer.parallel = Some(Parallel { processes: processes.clone(), exchange: Box::new(exchange) });
    trainer.on_non_finite = OnNonFinite::Skip;
    processes.meet().unwrap();
    let before = cuda.waits();
    processes.meet().unwrap();
    let mut step = |spoiled: bool| {
        let loss = |decoder: &Decoder<Device>, index: usize| {
            let (loss, weight) = loss_of_row(decoder, ROWS[rank][index]);
            Ok((if spoiled { loss.scale(1e38).scale(1e38) } else { loss }, weight))
        };
        trainer.step(ROWS[rank].len(), loss).unwrap()
    };
    let outcomes = vec![step(false), step(false)];
    processes.meet().unwrap();
    let waits = cuda.waits() - before;
    processes.meet().unwrap();
    assert!(step(rank == 1).skipped.is_some(), "every process passes over what one cannot make");
    processes.meet().unwrap();
    processes.leave(None);
    Steps { outcomes, waits, weights: weights(&trainer) }
}

/// Two processes with unequal shares, whose sums stay on the device, each wait once a step, and come to the weights of one process with all
/// their rows. The loss of a process's own rows is summed in f32, of at most two terms: one rounding, and those of the means.
#[test]
fn a_group_whose_sums_stay_on_the_device_decides_there() {
    for device in [Precision::F32, Precision::Bf16].into_iter().flat_map(with_precision) {
        let Device::Cuda(cuda) = &device else { continue };
        for rule in [Rule::default(), Rule::Sgd { momentum: 0.9 }] {
            let alone = Steps::of(&mut trainer_by(rule, &device), &ROWS.concat());
            let ((to_second, from_first), (to_first, from_second), port) = (channel(), channel(), free_port());
            let of =
                |rank, to_other, from_other| SharedDevice { rank, device: device.clone(), to_other, from_other, gradients: Vec::new() };
            let exchanges = [of(0, to_second, from_second), of(1, to_first, from_first)];
            let group: [Steps; 2] = std::thread::scope(|scope| {
                let threads = exchanges.map(|exchange| scope.spawn(move || steps_in_group(cuda, rule, exchange, port)));
                threads.map(|thread| thread.join().unwrap())
            });
            for process in group {
                assert!(process.weights == alone.weights, "{} by {rule:?}", cuda.name());
                assert_eq!(process.waits, 2 * 2, "once for each process and step");
                for (own, alone) in process.outcomes.iter().zip(&alone.outcomes) {
                    assert_eq!(own.gradient_norm, alone.gradient_norm);
                    assert!((own.loss - alone.loss).abs() <= 2f64.powi(-24) * 1.1 * alone.loss, "{} for {}", own.loss, alone.loss);
                }
            }
        }
    }
}
