//! Groups over loopback, each process of them a thread here.

use super::TcpGroup;
use crate::config::Config;
use crate::decoder::Decoder;
use crate::error::{Error, Result};
use crate::optimizer::{Rule, Schedule};
use crate::parallel::launch::Place;
use crate::parallel::{HostExchange, Parallel, Processes, start};
use crate::train::{OnNonFinite, StepOutcome, Trainer};
use engine::{Backend, Cpu, Tensor};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

/// A port that nobody listens at.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn place(rank: usize, size: usize, port: u16) -> Place {
    Place { rank, size, host: "127.0.0.1".to_owned(), port, join_limit: Duration::from_secs(30) }
}

fn join(place: Place) -> Result<Processes> {
    Processes::join(move || TcpGroup::join(&place), |lost| panic!("{lost}, and nobody noticed"))
}

/// What each of `size` processes makes of `f`, in the order of ranks.
fn together<T: Send + 'static>(size: usize, f: impl Fn(Processes) -> T + Clone + Send + 'static) -> Vec<T> {
    let port = free_port();
    let run = |rank| {
        let f = f.clone();
        thread::spawn(move || {
            let processes = join(place(rank, size, port)).unwrap();
            let outcome = f(processes.clone());
            processes.leave(None);
            outcome
        })
    };
    let threads: Vec<_> = (0..size).map(run).collect();
    threads.into_iter().map(|thread| thread.join().unwrap()).collect()
}

#[test]
fn sums_have_the_bits_of_additions_in_the_order_of_ranks_and_gatherings_their_order() {
    for size in 1..=4 {
        let parts =
            |rank: usize| -> Vec<f64> { (0..1000).map(|i| ((i * 7 + rank * 13) as f64).sin() * 10f64.powi(rank as i32 * 5)).collect() };
        let found = together(size, move |processes| {
            let rank = processes.rank();
            let sums = (processes.sum(&parts(rank)).unwrap(), processes.sum(&[]).unwrap());
            (
                sums,
                processes.gather_text(&"x".repeat(rank)).unwrap(),
                processes.any(rank == size - 1).unwrap(),
                processes.any(false).unwrap(),
            )
        });
        let sums = (0..1000).map(|i| (1..size).fold(parts(0)[i], |sum, rank| sum + parts(rank)[i])).collect::<Vec<f64>>();
        let texts = (0..size).map(|rank| "x".repeat(rank)).collect::<Vec<_>>();
        assert!(found.iter().all(|found| *found == ((sums.clone(), vec![]), texts.clone(), true, false)), "{size} processes");
    }
}

/// Sums of squares of the parameters against a target that depends on the row, so that each row has a gradient of its own.
fn loss<B: Backend>(decoder: &Decoder<B>, row: usize) -> Tensor<B> {
    let terms = decoder.parameters().into_iter().enumerate().map(|(place, parameter)| {
        let target = Tensor::full(decoder.backend(), ((row * 31 + place) as f64).cos(), parameter.tensor.shape());
        let difference = parameter.tensor.sub(&target);
        difference.mul(&difference).sum_all()
    });
    terms.reduce(|sum, term| sum.add(&term)).unwrap()
}

fn trainer<B: Backend>(backend: &B, seed: u64) -> Trainer<B> {
    let config = Config { vocab_size: 16, layers: 1, ..Config::preset("nano").unwrap() };
    let schedule = Schedule { learning_rate: 1e-2, warmup: 0, steps: 10, final_fraction: 1.0 };
    Trainer::new(Decoder::random(backend, &config, seed).unwrap(), Rule::default(), schedule, 1.0)
}

fn values<B: Backend>(trainer: &Trainer<B>) -> Vec<f64> {
    trainer.decoder.parameters().into_iter().flat_map(|parameter| parameter.tensor.to_f64()).collect()
}

/// Three steps of `rows` rows, one a micro-batch.
fn steps<B: Backend>(trainer: &mut Trainer<B>, rows: usize) -> (Vec<StepOutcome>, Vec<f64>) {
    let share = trainer.share(rows, 1).micro_batches;
    let step = |_| trainer.step(share.len(), |decoder, index| Ok((loss(decoder, share[index].start), 1.0))).unwrap();
    let outcomes = (0..3).map(step).collect();
    (outcomes, values(trainer))
}

fn in_parallel<B: Backend>(backend: B, size: usize, rows: usize, bucket_bytes: usize) -> Vec<(Vec<StepOutcome>, Vec<f64>)> {
    together(size, move |processes| {
        // Only the first process begins where the run does.
        let mut trainer = trainer(&backend, if processes.rank() == 0 { 1 } else { 7 });
        let exchange = Box::new(HostExchange::with_buckets(processes.clone(), &trainer.decoder, bucket_bytes));
        start::follow_first(&processes, &mut trainer).unwrap();
        trainer.parallel = Some(Parallel { processes, exchange });
        steps(&mut trainer, rows)
    })
}

#[test]
fn with_one_micro_batch_each_the_steps_have_the_bits_of_one_process_whatever_the_buckets() {
    for bucket_bytes in [1, 20_000, usize::MAX] {
        for size in [1, 2, 3] {
            let alone = steps(&mut trainer(&Cpu::<f32>::new(), 1), size);
            let found = in_parallel(Cpu::<f32>::new(), size, size, bucket_bytes);
            assert!(found.iter().all(|found| *found == alone), "{size} processes, buckets of {bucket_bytes} bytes");
        }
    }
}

/// In f64, to the rounding of some sums in another order.
#[test]
fn with_several_micro_batches_each_the_steps_are_those_of_one_process() {
    let alone = steps(&mut trainer(&Cpu::<f64>::new(), 1), 7);
    for (outcomes, weights) in in_parallel(Cpu::<f64>::new(), 2, 7, 20_000) {
        let apart = weights.iter().zip(&alone.1).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        assert!(apart < 1e-12, "{apart:e}");
        assert!(
            outcomes.iter().zip(&alone.0).all(|(a, b)| (a.loss - b.loss).abs() < 1e-9 && (a.gradient_norm - b.gradient_norm).abs() < 1e-9)
        );
    }
}

#[test]
fn a_parameter_that_no_process_uses_is_left_alone_and_one_that_some_use_is_not() {
    let found = together(2, |processes| {
        let mut trainer = trainer(&Cpu::<f64>::new(), 1);
        let before = values(&trainer);
        trainer.parallel = Some(Parallel::through_host(processes.clone(), &trainer.decoder));
        // Each process uses a parameter of its own.
        let used = |decoder: &Decoder<Cpu<f64>>| decoder.parameters()[1 + processes.rank()].tensor.sum_all();
        trainer.step(1, |decoder, _| Ok((used(decoder), 1.0))).unwrap();
        let lengths: Vec<usize> = trainer.decoder.parameters().iter().map(|parameter| parameter.tensor.len()).collect();
        let (after, mut start) = (values(&trainer), 0);
        lengths
            .into_iter()
            .map(|length| {
                start += length;
                before[start - length..start] != after[start - length..start]
            })
            .collect::<Vec<bool>>()
    });
    assert_eq!(found[0], found[1]);
    assert!(found[0].iter().enumerate().all(|(place, changed)| *changed == (place == 1 || place == 2)), "{:?}", found[0]);
}

#[test]
fn a_loss_that_is_not_finite_in_one_process_is_found_by_all_with_its_cause() {
    for skip in [false, true] {
        let found = together(3, move |processes| {
            let rank = processes.rank();
            let mut trainer = trainer(&Cpu::<f32>::new(), 1);
            let before = values(&trainer);
            trainer.on_non_finite = if skip { OnNonFinite::Skip } else { OnNonFinite::Stop };
            trainer.parallel = Some(Parallel::through_host(processes, &trainer.decoder));
            let outcome = trainer.step(2, |decoder, index| {
                let loss = loss(decoder, index);
                Ok((if rank == 1 && index == 0 { loss.neg().ln() } else { loss }, 1.0))
            });
            assert_eq!((trainer.skipped, values(&trainer)), (u64::from(skip), before));
            match outcome {
                Ok(outcome) => outcome.skipped.unwrap(),
                Err(error) => error.to_string(),
            }
        });
        assert!(found[0].contains("the loss is NaN; process 1, micro-batch 1: the first value that is not finite is"), "{}", found[0]);
        assert!(found.iter().all(|text| *text == found[0]));
    }
}

#[test]
fn a_process_that_fails_tells_the_others_why_and_one_that_goes_is_missed() {
    for (reason, expected) in [(Some("no space left"), "stopped: no space left"), (None, "is gone without a word")] {
        let found = together(3, move |processes| {
            if processes.rank() == 1 {
                processes.leave(reason);
                return String::new();
            }
            let Err(Error::Lost(lost)) = processes.meet() else { panic!("process {} noticed nothing", processes.rank()) };
            assert_eq!((lost.rank, lost.told_by_first), (1, processes.rank() == 2));
            // Nothing is left to be done together.
            assert!(matches!(processes.sum(&[1.0]), Err(Error::Lost(again)) if again == lost));
            lost.to_string()
        });
        for text in [&found[0], &found[2]] {
            assert!(text.starts_with(&format!("process 1 of 3 (counted from 0) {expected}")), "{text}");
        }
    }
}

#[test]
fn a_process_that_works_long_shows_that_it_lives_and_what_it_missed_waits_for_it() {
    let found = together(3, |processes| {
        if processes.rank() == 1 {
            thread::sleep(Duration::from_secs(5));
        }
        // More than the system's buffers hold.
        processes.sum(&vec![1.0; 2_000_000]).unwrap().iter().all(|sum| *sum == 3.0)
    });
    assert_eq!(found, [true; 3]);
}

#[test]
fn processes_that_do_different_things_stop() {
    let found = together(2, |processes| {
        let outcome = if processes.rank() == 0 { processes.sum(&[1.0]).map(drop) } else { processes.gather(vec![0; 8]).map(drop) };
        outcome.unwrap_err().to_string()
    });
    assert!(found[0].contains("process 1 of 2 (counted from 0) does something else"), "{}", found[0]);
    let found = together(2, |processes| processes.sum(&vec![1.0; 1 + processes.rank()]).unwrap_err().to_string());
    assert!(found[0].contains("brings 16 bytes to a sum of 1 numbers"), "{}", found[0]);
}

#[test]
fn settings_that_differ_are_named_in_every_process() {
    let found = together(3, |processes| {
        let settings = if processes.rank() == 2 { "a = 1\nb = 3" } else { "a = 1\nb = 2" };
        start::agree(&processes, settings).unwrap_err().to_string()
    });
    let expected = "several processes: all processes must be started with the same settings: process 0 has `b = 2`, process 2 has `b = 3`";
    assert_eq!(found, [expected; 3]);
}

#[test]
fn who_does_not_come_in_time_is_said_on_every_side() {
    let port = free_port();
    let short = move |rank| Place { join_limit: Duration::from_secs(1), ..place(rank, 3, port) };
    let started = Instant::now();
    let came = thread::spawn(move || join(short(1)).err().unwrap().to_string());
    let message = join(short(0)).err().unwrap().to_string();
    assert!(message.contains("of 3 processes, those of rank 2 did not come to 127.0.0.1"), "{message}");
    let told = came.join().unwrap();
    assert!(told.contains("says: of 3 processes, those of rank 2 did not come"), "{told}");
    let alone = join(short(2)).err().unwrap().to_string();
    assert!(alone.contains("cannot be reached within 1 s (SLPO_JOIN_SECONDS)"), "{alone}");
    assert!(started.elapsed() < Duration::from_secs(20));
}

#[test]
fn strangers_are_passed_over_and_those_of_another_run_are_refused() {
    let port = free_port();
    let first = thread::spawn(move || join(place(0, 2, port)).map(|processes| processes.size()));
    let connect = || loop {
        match TcpStream::connect(("127.0.0.1", port)) {
            Ok(stream) => return stream,
            Err(_) => thread::sleep(Duration::from_millis(20)),
        }
    };
    connect().write_all(&[b'G'; 64]).unwrap();
    drop(connect());
    let other = join(place(1, 3, port)).err().unwrap().to_string();
    assert!(other.contains("was started with WORLD_SIZE 3, the first with 2"), "{other}");
    let message = first.join().unwrap().unwrap_err().to_string();
    assert!(message.contains("a process that came to 127.0.0.1") && message.contains("was started with WORLD_SIZE 3"), "{message}");
    // What listens there may be no slpo at all.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let stranger = thread::spawn(move || {
        let mut stream = listener.accept().unwrap().0;
        stream.read_exact(&mut [0; 32]).unwrap();
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\n").unwrap();
    });
    let message = join(place(1, 2, port)).err().unwrap().to_string();
    assert!(message.contains("is no slpo"), "{message}");
    stranger.join().unwrap();
}

#[test]
fn two_processes_of_one_rank_are_refused() {
    let port = free_port();
    let twins: Vec<_> = (0..2).map(|_| thread::spawn(move || join(place(1, 3, port)).err().unwrap().to_string())).collect();
    let message = join(place(0, 3, port)).err().unwrap().to_string();
    assert!(message.contains("two processes have the rank 1"), "{message}");
    twins.into_iter().for_each(|twin| assert!(twin.join().unwrap().contains("two processes have the rank 1")));
}
