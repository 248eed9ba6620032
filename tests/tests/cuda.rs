//! The GPU's kernels against `Cpu<f64>`, values and gradients: on a GPU where there is one, and compiled for the processor everywhere else, where
//! that shows wrong arithmetic, indices and barriers, and says nothing of the driver or cuBLAS.

#[path = "../../cli/src/objective.rs"]
mod objective;

use engine::backend::cuda::Nccl;
use engine::gradcheck::{Draw, Entry, Function, Sample, check_entry_on, check_on};
use engine::{AdamwStep, Backend, Cpu, Cuda, Device, Generator, Precision, SamplingRule, Segments, StepDecision, Tensor, function};
use losses::slpo_exact::slpo_exact;
use losses::slpo_literal::slpo_literal;
use losses::slpo_token::slpo_token;
use losses::{ExactTargets, Hyperparameters, Loss, PairRows, TokenInputs, TokenWeights, WeightRule, Weights};
use model::batch::Batch;
use model::boundary::Sequence;
use model::config::Config;
use model::data::PreferencePair;
use model::decoder::{Decoder, ForwardOptions};
use model::gradcheck::{decoder, llama, parameters};
use model::optimizer::{Rule, Schedule};
use model::parallel::launch::Place;
use model::parallel::tcp::TcpGroup;
use model::parallel::{Parallel, Processes};
use model::preference::{Objective, PairBatch, Scored};
use model::train::{OnNonFinite, Trainer};
use objective::LossObjective;
use slpo_tests::{bits, normal, normal_parameter, normal_sample};
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// What the kernels run on here; says what is left out and why.
fn devices() -> &'static [Device] {
    static DEVICES: OnceLock<Vec<Device>> = OnceLock::new();
    DEVICES.get_or_init(|| [Precision::F32, Precision::Bf16].into_iter().flat_map(with_precision).collect())
}

fn in_bf16(device: &Device) -> bool {
    matches!(device, Device::Cuda(cuda) if cuda.precision() == Precision::Bf16)
}

fn with_precision(precision: Precision) -> impl Iterator<Item = Device> {
    let gpu = Cuda::open(0, precision).map_err(|error| println!("skipped: no CUDA device: {error}"));
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("cuda-kernels");
    let emulated = Cuda::emulated(&folder, precision).map_err(|reason| println!("skipped: kernels on the processor: {reason}"));
    gpu.into_iter().chain(emulated).map(Device::Cuda)
}

fn agrees(name: &str, f: impl Function, shapes: &[&[usize]]) {
    let sample = normal_sample(f, shapes);
    devices().iter().for_each(|device| check_on(device, name, &sample).assert());
}

#[test]
fn every_op_on_random_shapes() {
    for entry in engine::ops::registry() {
        for device in devices() {
            // Every precision runs the same formulas; bfloat16 adds conversions and tensor cores, which need fewer shapes (and longer).
            let (small, large) = if in_bf16(device) { (0..4, 20..21) } else { (0..12, 20..23) };
            check_entry_on(device, &entry, small, 5).assert();
            check_entry_on(device, &entry, large, 14).assert();
        }
    }
}

#[test]
fn every_loss_on_random_shapes() {
    for entry in losses::registry() {
        let seeds = |device| if in_bf16(device) { 0..2 } else { 0..6 };
        devices().iter().for_each(|device| check_entry_on(device, &entry, seeds(device), 5).assert());
    }
}

#[test]
fn attention_over_segments_longer_than_a_tile() {
    for (lengths, window) in [
        (vec![150, 5], None),
        (vec![64, 65, 63, 1], None),
        (vec![129], None),
        (vec![150, 40], Some(70)),
        (vec![130], Some(64)),
        (vec![70], Some(1)),
    ] {
        let n = lengths.iter().sum();
        let segments = Segments::of_lengths(&lengths).with_window(window);
        let attention = function!(|x; segments: Segments| x[0].attention(&x[1], &x[2], segments, 0.4));
        agrees(&format!("attention over {lengths:?}, window {window:?}"), attention, &[&[n, 4, 6], &[n, 2, 6], &[n, 2, 6]]);
    }
}

/// One head width for each of the kernels' variants, and one that only the definition takes.
#[test]
fn attention_with_heads_of_every_width() {
    for width in [64, 65, 128, 160, 256, 257] {
        let segments = Segments::of_lengths(&[35, 3]);
        let attention = function!(|x; segments: Segments| x[0].attention(&x[1], &x[2], segments, 0.1));
        agrees(&format!("attention with heads of {width}"), attention, &[&[38, 2, width], &[38, 1, width], &[38, 1, width]]);
    }
}

#[test]
fn attention_of_few_queries_over_a_long_cache() {
    for window in [None, Some(40)] {
        let segments = Segments::of_queries_and_keys(&[1, 70, 3], &[130, 100, 3]).with_window(window);
        let attention = function!(|x; segments: Segments| x[0].attention(&x[1], &x[2], segments, 0.4));
        agrees(&format!("cached attention, window {window:?}"), attention, &[&[74, 3, 5], &[233, 1, 5], &[233, 1, 5]]);
    }
}

#[test]
fn products_of_views() {
    agrees("tall", function!(|x| x[0].matmul(&x[1])), &[&[101, 37], &[37, 29]]);
    agrees("transposed views", function!(|x| x[0].t().matmul(&x[1].t())), &[&[61, 53], &[45, 61]]);
    agrees("broadcast batches", function!(|x| x[0].matmul(&x[1])), &[&[3, 1, 13, 20], &[4, 20, 15]]);
    agrees("permuted batches", function!(|x| x[0].permute(&[1, 0, 2]).matmul(&x[1].permute(&[2, 1, 0]))), &[&[20, 5, 10], &[15, 10, 5]]);
    agrees("one column", function!(|x| x[0].matmul(&x[1])), &[&[30, 30], &[30, 1]]);
    agrees("one row", function!(|x| x[0].matmul(&x[1].t())), &[&[1, 30], &[7, 30]]);
    agrees("a slice", function!(|x| x[0].slice(1, 3, 9).matmul(&x[1].slice(0, 1, 7))), &[&[5, 12], &[8, 4]]);
}

#[test]
fn reductions_in_several_chunks() {
    for axis in 0..3 {
        agrees("sum", function!(|x; axis: usize| x[0].mul(&x[0]).sum(*axis)), &[&[31, 17, 41]]);
        agrees("max", function!(|x; axis: usize| x[0].max(*axis)), &[&[31, 17, 41]]);
        agrees("sum of a view", function!(|x; axis: usize| x[0].permute(&[2, 0, 1]).sum(*axis)), &[&[31, 17, 41]]);
    }
    agrees("long rows", function!(|x| x[0].sum(1)), &[&[3, 20_000]]);
    agrees("long columns", function!(|x| x[0].sum(0)), &[&[20_000, 3]]);
    agrees("long maxima", function!(|x| x[0].max(1)), &[&[3, 5000]]);
    agrees("broadcast over rows", function!(|x| x[0].mul(&x[1])), &[&[200, 13], &[13]]);
    agrees("broadcast over columns", function!(|x| x[0].mul(&x[1])), &[&[20, 130], &[20, 1]]);
    agrees("broadcast of both", function!(|x| x[0].div(&x[1].exp())), &[&[7, 1, 5], &[1, 6, 5]]);
}

#[test]
fn rows_longer_than_a_block() {
    agrees("softmax", function!(|x| x[0].softmax()), &[&[5, 1001]]);
    agrees("log_softmax", function!(|x| x[0].log_softmax()), &[&[5, 1001]]);
    agrees("logsumexp", function!(|x| x[0].logsumexp()), &[&[5, 1001]]);
    agrees("layer_norm", function!(|x| x[0].layer_norm(&x[1], &x[2], 1e-5)), &[&[40, 301], &[301], &[301]]);
    agrees("rms_norm", function!(|x| x[0].rms_norm(&x[1], 1e-5)), &[&[140, 301], &[301]]);
    agrees("swiglu", function!(|x| x[0].swiglu(&x[1])), &[&[40, 301], &[40, 301]]);
}

#[test]
fn linear_layers_of_the_same_rows() {
    let layers = function!(|x| {
        let y = x[0].linears(&[(&x[1], None), (&x[2], Some(&x[3]))]);
        Tensor::concat(&[&y[0], &y[1], &x[0]], 1)
    });
    agrees("linears", layers, &[&[70, 24], &[9, 24], &[33, 24], &[33]]);
}

#[test]
fn gated_feed_forward_part() {
    let gated_mlp = function!(|x| x[0].gated_mlp(&x[1], &x[2], &x[3]).add(&x[0]));
    agrees("gated_mlp", gated_mlp, &[&[70, 24], &[33, 24], &[33, 24], &[24, 33]]);
    agrees("gated_mlp, one row", function!(|x| x[0].gated_mlp(&x[1], &x[2], &x[3])), &[&[1, 24], &[33, 24], &[33, 24], &[9, 33]]);
}

#[test]
fn token_indices() {
    let targets: Arc<[u32]> = (0..300).map(|i| (i * 7 % 23) as u32).collect();
    let ids = targets.clone();
    agrees("linear_log_prob", function!(|x; targets: Arc<[u32]>| x[0].linear_log_prob(&x[1], targets)), &[&[300, 6], &[23, 6]]);
    agrees("embedding", function!(|x; ids: Arc<[u32]>| x[0].embedding(ids)), &[&[23, 5]]);
}

/// Far logits, masked logits and a row of nothing but −∞ give what the processor gives.
#[test]
fn extreme_logits() {
    let infinite = f64::NEG_INFINITY;
    let x = [-1e4, 0.0, 1e4, infinite, infinite, infinite, 3.0, infinite, -2.0];
    for device in devices() {
        let (here, there) = (Tensor::constant(device, &x, &[3, 3]), Tensor::constant(&Cpu::<f32>::new(), &x, &[3, 3]));
        let close = |name: &str, a: Vec<f64>, b: Vec<f64>| {
            let same = |(a, b): (&f64, &f64)| a == b || (a.is_nan() && b.is_nan()) || (a - b).abs() <= 1e-6 * b.abs();
            assert!(a.iter().zip(&b).all(same), "{name}: {a:?}, {b:?}");
        };
        close("logsumexp", here.logsumexp().to_f64(), there.logsumexp().to_f64());
        close("softmax", here.softmax().to_f64(), there.softmax().to_f64());
        close("log_softmax", here.log_softmax().to_f64(), there.log_softmax().to_f64());
    }
}

fn steps<B: Backend>(backend: &B) -> [Vec<f64>; 4] {
    let array = |seed| normal_parameter(backend, seed, &[7, 5]).into_array();
    let (mut theta, mut m, mut v) = (array(1), backend.full(0.0, &[7, 5]), backend.full(0.0, &[7, 5]));
    let kept = theta.clone();
    for step in 1..=3 {
        let rates = AdamwStep { learning_rate: 1e-2, beta1: 0.9, beta2: 0.95, epsilon: 1e-8, weight_decay: 0.1, step, gradient_scale: 0.5 };
        backend.adamw(&mut theta, &mut m, &mut v, &array(step + 10), &rates);
    }
    [theta, m, v, kept].map(|x| Tensor::from_array(backend, x).to_f64())
}

#[test]
fn adamw_steps_and_leaves_shared_storage_alone() {
    let expected = steps(&Cpu::<f64>::new());
    for device in devices() {
        for (got, expected) in steps(device).iter().flatten().zip(expected.iter().flatten()) {
            assert!((got - expected).abs() <= 1e-6 * (1.0 + expected.abs()), "{got} for {expected}");
        }
    }
}

#[test]
fn squares_are_summed_in_double_precision() {
    for device in devices() {
        let shapes: [&[usize]; 3] = [&[70_000], &[3], &[0]];
        let arrays: Vec<_> = shapes.iter().map(|shape| normal_parameter(device, 5, shape).into_array()).collect();
        let sums = device.sums_of_squares(&arrays.iter().collect::<Vec<_>>());
        for (array, sum) in arrays.iter().zip(sums) {
            let expected: f64 = device.to_vec(array).iter().map(|&x| f64::from(x) * f64::from(x)).sum();
            assert!((sum - expected).abs() <= 1e-12 * expected, "{sum} for {expected}");
        }
    }
}

/// Is the decision what the host forms from the same numbers? Every sum is of at most 70 000 terms in f64, in another order.
#[test]
fn a_step_is_decided_on_the_device_as_on_the_host() {
    for device in devices() {
        let shapes: [&[usize]; 4] = [&[70_000], &[3], &[0], &[40, 7]];
        let arrays: Vec<_> = shapes.iter().map(|shape| normal_parameter(device, 5, shape).into_array()).collect();
        let arrays: Vec<_> = arrays.iter().collect();
        let losses = [1.5, -0.25, 1e-3].map(|x| Tensor::constant(device, &[x], &[]).into_array());
        for (losses, weight, clip) in [(&losses[..1], 1.0, 1.0), (&losses[..], 640.0, 1e-3), (&losses[..2], 3.0, f64::INFINITY)] {
            let control = device.step_control(&losses.iter().collect::<Vec<_>>(), &arrays, weight, clip);
            let got = device.step_decision(&control);
            let loss = losses.iter().map(|loss| f64::from(device.to_vec(loss)[0])).sum();
            let expected = StepDecision::new(loss, device.sums_of_squares(&arrays), weight, clip);
            for (got, expected) in got.numbers().iter().zip(expected.numbers()) {
                assert!((got - expected).abs() <= 1e-12 * expected.abs(), "{got} for {expected}");
            }
        }
        let infinite = Tensor::constant(device, &[0.0, f64::INFINITY], &[2]).into_array();
        let control = device.step_control(&[&losses[0]], &[arrays[1], &infinite], 1.0, 1.0);
        let decision = device.step_decision(&control);
        assert!(!decision.finite && decision.loss == 1.5 && decision.squares[0].is_finite() && decision.squares[1].is_infinite());
        let before = [arrays[1], arrays[1], arrays[1]].map(|x| device.to_vec(x));
        let [mut theta, mut m, mut v] = [0; 3].map(|_| arrays[1].clone());
        let rates =
            AdamwStep { learning_rate: 1.0, beta1: 0.9, beta2: 0.95, epsilon: 1e-8, weight_decay: 0.1, step: 1, gradient_scale: 1.0 };
        device.adamw_controlled(&mut theta, &mut m, &mut v, arrays[1], &rates, &control);
        assert_eq!([&theta, &m, &v].map(|x| device.to_vec(x)), before, "a step that is not finite changes nothing");
    }
}

#[test]
fn accumulating_leaves_shared_storage_alone() {
    for device in devices() {
        let x = Tensor::constant(device, &[1.0, 2.0], &[2]);
        let sum = device.accumulate(x.array().clone(), x.array());
        assert_eq!((device.to_vec(&sum), x.to_f64()), (vec![2.0, 4.0], vec![1.0, 2.0]));
        let again = device.accumulate(sum, x.array());
        assert_eq!(device.to_vec(&again), [3.0, 6.0]);
    }
}

#[test]
fn the_same_bits_at_every_run() {
    for device in devices() {
        let run = || {
            let ids: Arc<[u32]> = (0..200).map(|i| (i * i % 7) as u32).collect();
            let table = normal_parameter(device, 1, &[7, 30]);
            let loss = table.embedding(&ids).softmax().sum(0).linear_log_prob_sum(&table);
            bits(&loss.backward().of(&table))
        };
        assert_eq!(run(), run());
    }
}

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

fn is_emulated(cuda: &Cuda) -> bool {
    cuda.name().contains("emulat")
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

fn trainer(device: &Device) -> Trainer<Device> {
    let config = Config { vocab_size: 32, layers: 1, ..Config::preset("nano").unwrap() };
    let schedule = Schedule { learning_rate: 1e-2, warmup: 0, steps: 9, final_fraction: 1.0 };
    Trainer::new(Decoder::random(device, &config, 3).unwrap(), Rule::default(), schedule, 1.0)
}

/// Three pairs with prompts and completions of different lengths, which part after one token, at once, and after one.
fn preference_pairs() -> PairBatch {
    let pair = |line, prompt: &[u32], chosen: &[u32], rejected: &[u32]| {
        let sequence = |completion: &[u32]| Sequence { tokens: [prompt, completion].concat(), completion_start: prompt.len() };
        PreferencePair { line, chosen: sequence(chosen), rejected: sequence(rejected) }
    };
    PairBatch::new(&[
        pair(1, &[1, 2, 3], &[4, 5, 6, 7, 0], &[4, 8, 5, 0]),
        pair(2, &[3], &[9], &[10, 2, 0]),
        pair(3, &[5, 1], &[7, 7, 0], &[7, 0]),
    ])
}

/// The default settings, and others that change what is made from the reference and the lengths; every loss is defined under both.
fn hyperparameters() -> [Hyperparameters; 2] {
    let shift = Hyperparameters { alpha: 0.75, weights: WeightRule::Shift, length_normalize: true, ..Hyperparameters::default() };
    [Hyperparameters::default(), shift]
}

/// Reading the loss and the norm of the gradient is all that a step waits for, and they come together.
#[test]
fn a_step_waits_for_the_device_once() {
    let windows: Vec<Vec<u32>> = (0..2).map(|row| (0..9).map(|i| (i * 3 + row) % 32).collect()).collect();
    let (batch, pairs, options) = (Batch::of_windows(windows.iter().map(Vec::as_slice)), preference_pairs(), ForwardOptions::default());
    // Devices of this test's own: others that run beside it would be counted.
    for device in [Precision::F32, Precision::Bf16].into_iter().flat_map(with_precision) {
        let Device::Cuda(cuda) = &device else { continue };
        let mut trainer = trainer(&device);
        let reference = trainer.decoder.clone();
        let once = |name: &str, step: &mut dyn FnMut() -> f64| {
            for number in 1..=2 {
                let before = cuda.waits();
                assert!(step().is_finite(), "{name}, step {number}");
                assert_eq!(cuda.waits() - before, 1, "{name}, step {number}");
            }
        };
        once("language modelling", &mut || {
            trainer.step(2, |decoder, _| Ok((batch.loss(decoder, &options), batch.target_count() as f64))).unwrap().loss
        });
        for (loss, hyper) in Loss::ALL.into_iter().flat_map(|loss| hyperparameters().map(|hyper| (loss, hyper))) {
            let objective = LossObjective { loss, hyper };
            once(loss.name(), &mut || {
                let aligned = trainer.step(1, |decoder, _| {
                    objective.total(&Scored::policy(&pairs, decoder, &options), &Scored::reference(&pairs, &reference))
                });
                aligned.unwrap().loss
            });
        }
    }
}

/// The mean loss of an alignment step from the parameters of the policy and of the reference.
fn aligned<B: Backend>(parameters: &[Tensor<B>], objective: &LossObjective, pairs: &PairBatch) -> Tensor<B> {
    let (policy, reference) = parameters.split_at(parameters.len() / 2);
    let (policy, reference) = (decoder(policy, &llama()), decoder(reference, &llama()));
    let (policy, reference) = (Scored::policy(pairs, &policy, &ForwardOptions::default()), Scored::reference(pairs, &reference));
    let (sum, count) = objective.total(&policy, &reference).unwrap();
    sum.scale(1.0 / count)
}

/// What cancels inside is of order 1, as in every decoder's log-probabilities.
#[test]
fn every_loss_from_the_weights_of_two_decoders() {
    for (loss, hyper) in Loss::ALL.into_iter().flat_map(|loss| hyperparameters().map(|hyper| (loss, hyper))) {
        let (objective, pairs) = (LossObjective { loss, hyper }, preference_pairs());
        let inputs: Vec<_> = (0..2).flat_map(|seed| parameters(&mut Draw::new(seed, 4), &llama())).collect();
        let total = function!(|x; objective: LossObjective, pairs: PairBatch| aligned(x, objective, pairs));
        let sample = Sample::new(total, inputs).with_inner_magnitude(1.0);
        devices().iter().for_each(|device| check_on(device, loss.name(), &sample).assert());
    }
}

/// The losses whose masses and targets are made from the reference's logits, as functions of both models' logits [6, 5]: far ones among them,
/// whose size is that of what cancels inside. At the third and the last position the tokens of the two completions are the same.
fn losses_of_two_models() -> Vec<Entry> {
    fn sample(draw: &mut Draw, f: impl Function) -> Sample {
        let logits = [draw.logits(&[6, 5]), draw.logits(&[6, 5])];
        let largest = logits.iter().flat_map(|x| &x.data).fold(1.0f64, |m, z| m.max(z.abs()));
        Sample::new(f, logits).with_inner_magnitude(largest)
    }
    fn tokens() -> [Arc<[u32]>; 2] {
        [[0, 4, 2, 1, 3, 0].into(), [1, 0, 2, 4, 2, 0].into()]
    }
    let weights = |draw: &mut Draw| if draw.coin() { Weights::Eq7 { alpha: 0.75 } } else { Weights::Shift { alpha: 0.75 } };
    let token = move |draw: &mut Draw| {
        let (weights, keep) = (weights(draw), (0..6).map(|i| i == 0 || draw.coin()).collect::<Vec<_>>());
        let loss = function!(|x; weights: Weights, keep: Vec<bool>| {
            let [w, l] = tokens();
            let masses = TokenWeights::from_reference(*weights, &x[1], &w, &l).unwrap();
            slpo_token(&TokenInputs::new(&x[0], &w, &l, masses, Some(keep)).unwrap())
        });
        sample(draw, loss)
    };
    let literal = |draw: &mut Draw| {
        let loss = function!(|x| {
            let [w, l] = tokens();
            slpo_literal(&TokenInputs::new(&x[0], &w, &l, TokenWeights::literal(&x[1], &w, &l).unwrap(), None).unwrap())
        });
        sample(draw, loss)
    };
    let exact = |draw: &mut Draw| {
        let moved = if draw.coin() { 1.0 } else { 0.4 };
        let loss = function!(|x; moved: f64| {
            let pair = PairRows { chosen_start: 0, chosen: vec![1, 0, 4], rejected_start: 4, rejected: vec![1, 2] };
            slpo_exact(&x[0], &ExactTargets::from_reference(&x[1], &[pair], *moved).unwrap()).unwrap()
        });
        sample(draw, loss)
    };
    vec![Entry::new("slpo-token", token), Entry::new("slpo-literal", literal), Entry::new("slpo-exact", exact)]
}

#[test]
fn masses_and_targets_made_from_the_reference_on_the_device() {
    for entry in losses_of_two_models() {
        devices().iter().for_each(|device| check_entry_on(device, &entry, 0..12, 5).assert());
    }
}

/// Other tokens, another rate and other weights every time: the first steps of a device run kernel by kernel, the later ones as graphs.
#[test]
fn a_step_that_repeats_runs_as_graphs_and_gives_the_bits_of_one_that_does_not() {
    const STEPS: u32 = 9;
    let step_on = |trainer: &mut Trainer<Device>, step: u32| {
        let mut generator = Generator::new(u64::from(step));
        let windows: Vec<Vec<u32>> = (0..4).map(|_| (0..20).map(|_| generator.below(32) as u32).collect()).collect();
        let outcome = trainer.step(2, |decoder, index| {
            let batch = Batch::of_windows(windows[2 * index..2 * index + 2].iter().map(Vec::as_slice));
            Ok((batch.loss(decoder, &ForwardOptions::default()), batch.target_count() as f64))
        });
        outcome.unwrap().loss.to_bits()
    };
    for precision in [Precision::F32, Precision::Bf16] {
        for (device, plain) in with_precision(precision).zip(with_precision(precision)) {
            let (Device::Cuda(cuda), Device::Cuda(plain)) = (&device, plain) else { continue };
            let plain = plain.without_graphs();
            let (mut with_graphs, mut without) = (trainer(&device), trainer(&Device::Cuda(plain.clone())));
            for step in 0..STEPS {
                let before = cuda.graphs();
                assert_eq!(step_on(&mut with_graphs, step), step_on(&mut without, step), "step {step}");
                let after = cuda.graphs();
                assert_eq!(after.failure, None);
                let (in_graphs, alone) = (after.commands - before.commands, after.alone - before.alone);
                println!("step {step}: {in_graphs} commands in graphs, {alone} alone");
                assert!(step < 4 || in_graphs > 9 * alone, "step {step}: {in_graphs} commands in graphs, {alone} alone");
            }
            assert_eq!(plain.graphs().replayed, 0);
        }
    }
}

/// A step whose loss or gradient is not finite is not made, is named as on the processor, and may be passed over.
#[test]
fn a_step_that_is_not_finite_is_not_made() {
    let batch = Batch::of_windows([&[1, 2, 3, 4][..]]);
    let loss = |gradient_only: bool| {
        let batch = batch.clone();
        move |decoder: &Decoder<Device>, _: usize| {
            let loss = batch.loss(decoder, &ForwardOptions::default());
            let root = |x: &Tensor<Device>| x.scale(0.0).mul(&x.scale(0.0)).sqrt().sum_all();
            let spoiled = if gradient_only { loss.add(&root(decoder.head_weight())) } else { loss.scale(1e38).scale(1e38) };
            Ok((spoiled, batch.target_count() as f64))
        }
    };
    let weights = |trainer: &Trainer<Device>| trainer.decoder.parameters().into_iter().flat_map(|p| p.tensor.to_f64()).collect::<Vec<_>>();
    for gradient_only in [false, true] {
        let said = trainer(&Device::default()).step(1, loss(gradient_only)).unwrap_err().to_string();
        for device in devices() {
            let mut trainer = trainer(device);
            let before = weights(&trainer);
            let message = trainer.step(1, loss(gradient_only)).unwrap_err().to_string();
            let start = |text: &str| text.split([';', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9']).next().map(str::to_owned);
            assert_eq!(start(&message), start(&said), "{message} for {said}");
            assert_eq!(message.contains("gradient of"), gradient_only, "{message}");
            trainer.on_non_finite = OnNonFinite::Skip;
            assert!(trainer.step(1, loss(gradient_only)).unwrap().skipped.is_some());
            assert!(weights(&trainer) == before && trainer.optimizer.steps() == 0 && trainer.skipped == 1);
            let made = trainer.step(1, |decoder, _| Ok((batch.loss(decoder, &ForwardOptions::default()), 3.0))).unwrap();
            assert!(made.skipped.is_none() && weights(&trainer) != before);
        }
    }
}

/// A loss from a vector and the table, for [`the_same_bits_at_every_run`].
trait LinearLogProbSum<B: Backend> {
    fn linear_log_prob_sum(&self, table: &Tensor<B>) -> Tensor<B>;
}
impl<B: Backend> LinearLogProbSum<B> for Tensor<B> {
    fn linear_log_prob_sum(&self, table: &Tensor<B>) -> Tensor<B> {
        self.reshape(&[1, self.len()]).linear_log_prob(table, &Arc::from([3u32])).sum_all()
    }
}

/// Logits of a row: normal, in steps that make ties, or with masked and far ones.
fn logits_row(seed: u64, kind: usize, n: usize) -> Vec<f32> {
    let x = normal(seed, n).into_iter();
    match kind {
        0 => x.map(|x| x as f32).collect(),
        1 => x.map(|x| (2.0 * x).round() as f32 / 2.0).collect(),
        2 => x.enumerate().map(|(i, x)| if i % 3 == 1 { f32::NEG_INFINITY } else { (4.0 * x) as f32 }).collect(),
        _ => x.enumerate().map(|(i, x)| [1e4, -1e4, x as f32][i % 3]).collect(),
    }
}

/// The device's token is the processor's, or one that the processor gives when the uniform number or top-p moves by rounding. Sums of up to V weights
/// in double are off by (V + 8)·2⁻⁵² of themselves, for a rounding at each step and a few in the exponentials and limits; both sides are, hence
/// twice that. All terms are positive, so the error of a part of a sum is as small against that part, and no cut makes it larger.
#[test]
fn sampled_tokens_are_the_processors() {
    let vocabularies = [1, 33, 1000, 50304];
    let cuts = [(0, 1.0), (1, 1.0), (7, 1.0), (100_000, 1.0), (0, 1e-9), (0, 0.3), (0, 0.9), (20, 0.8), (600, 0.95)];
    let cpu = Cpu::<f32>::new();
    for device in devices() {
        // Logits are in f32 whatever the precision: the longest rows, which take the longest here, go through it once.
        for n in vocabularies.into_iter().filter(|&n| n < 50_000 || !in_bf16(device)) {
            let logits: Vec<f32> = (0..4).flat_map(|kind| logits_row(n as u64 + kind as u64, kind, n)).collect();
            let (here, there) = (device.from_vec(logits.clone(), &[4, n]), cpu.from_vec(logits, &[4, n]));
            for (i, &(top_k, top_p)) in cuts.iter().enumerate() {
                for temperature in [0.0, 0.01, 1.0, 10.0] {
                    let rule = SamplingRule { temperature, top_k, top_p };
                    let mut generator = Generator::new((n + i) as u64);
                    let uniforms: [f64; 4] = std::array::from_fn(|_| generator.uniform());
                    let tokens = device.sample_rows(&here, &rule, &uniforms);
                    assert_eq!(tokens, device.sample_rows(&here, &rule, &uniforms), "the same at every run");
                    let slack = (n as f64 + 8.0) * 2.0 * f64::EPSILON;
                    let near = |row: usize, token: u32| {
                        let moved = |du: f64, dp: f64| {
                            let uniforms = uniforms.map(|u| (u * (1.0 + du) + du).clamp(0.0, 1.0 - f64::EPSILON));
                            let top_p = if top_p < 1.0 { top_p * (1.0 + dp) } else { 1.0 };
                            cpu.sample_rows(&there, &SamplingRule { top_p, ..rule }, &uniforms)[row]
                        };
                        [-slack, 0.0, slack].iter().any(|&du| [-slack, 0.0, slack].iter().any(|&dp| moved(du, dp) == token))
                    };
                    let wanted = cpu.sample_rows(&there, &rule, &uniforms);
                    for (row, (&token, &wanted)) in tokens.iter().zip(&wanted).enumerate() {
                        assert!(token == wanted || near(row, token), "{rule:?}, row {row} of {n}: {token}, not {wanted}");
                    }
                }
            }
        }
    }
}

/// Every place of a small row is chosen where the uniform number says, also at both ends of [0, 1).
#[test]
fn sampling_passes_through_the_order() {
    let logits = [0.0, 1.0, 0.0, f32::NEG_INFINITY, 1.0, -1.0];
    let cpu = Cpu::<f32>::new();
    let uniforms: Vec<f64> = (0..40).map(|i| (i as f64 + 0.5) / 40.0).chain([0.0, 1.0 - f64::EPSILON / 2.0]).collect();
    let rows = logits.repeat(uniforms.len());
    for device in devices() {
        let shape = [uniforms.len(), logits.len()];
        let (here, there) = (device.from_vec(rows.clone(), &shape), cpu.from_vec(rows.clone(), &shape));
        for (top_k, top_p) in [(0, 1.0), (0, 0.9), (1, 1.0), (3, 1.0), (4, 0.7)] {
            let rule = SamplingRule { temperature: 1.0, top_k, top_p };
            assert_eq!(device.sample_rows(&here, &rule, &uniforms), cpu.sample_rows(&there, &rule, &uniforms), "{rule:?}");
        }
    }
}
