//! Tests of groups over loopback. Each process is a thread.

use super::TcpGroup;
use crate::config::Config;
use crate::decoder::Decoder;
use crate::error::{Error, Result};
use crate::optimizer::{Rule, Schedule};
use crate::parallel::launch::Place;
use crate::parallel::{HostExchange, Parallel, Processes, start};
use crate::train::{OnNonFinite, StepOutcome, Trainer};
use engine::{Backend, Cpu, Device, Tensor};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

/// Finds a port that nobody listens at.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn place(rank: usize, size: usize, port: u16) -> Place {
    Place { rank, size, host: "127.0.0.1".to_owned(), port, join_limit: Duration::from_secs(30), secret: None }
}

fn join(place: Place) -> Result<Processes> {
    Processes::join(move || TcpGroup::join(&place), |lost| panic!("{lost}, and nobody noticed"))
}

/// Runs `f` in each of `size` processes. Returns the results in the order of ranks.
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

/// Computes sums of squares of the parameters against a target that depends on the row, so that each row has a gradient of its own.
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

/// Makes three steps of `rows` rows, one row per micro-batch.
fn steps<B: Backend>(trainer: &mut Trainer<B>, rows: usize) -> (Vec<StepOutcome>, Vec<f64>) {
    let share = trainer.share(rows, 1).micro_batches;
    let step = |_| trainer.step(share.len(), |decoder, index| Ok((loss(decoder, share[index].start), 1.0))).unwrap();
    let outcomes = (0..3).map(step).collect();
    (outcomes, values(trainer))
}

fn in_parallel<B: Backend>(backend: B, size: usize, rows: usize, bucket_bytes: usize) -> Vec<(Vec<StepOutcome>, Vec<f64>)> {
    together(size, move |processes| {
        // Only the first process starts with the weights of the run.
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
            let alone = steps(&mut trainer(&Device::default(), 1), size);
            let found = in_parallel(Device::default(), size, size, bucket_bytes);
            assert!(found.iter().all(|found| *found == alone), "{size} processes, buckets of {bucket_bytes} bytes");
        }
    }
}

/// The sums are equal up to their order of additions, in f64.
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
            let mut trainer = trainer(&Device::default(), 1);
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
            // No further sum is possible.
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
        // The numbers do not fit in the system's buffers.
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
    assert!(found[0].contains("sends 16 bytes where 8 are expected"), "{}", found[0]);
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
    // The listener may not be slpo at all.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let stranger = thread::spawn(move || {
        let mut stream = listener.accept().unwrap().0;
        stream.read_exact(&mut [0; 68]).unwrap();
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

/// Makes strangers that connect to a port for four seconds, each with the given behaviour.
fn strangers(port: u16, count: usize, behave: fn(TcpStream)) -> Vec<thread::JoinHandle<()>> {
    let connect = move || {
        let end = Instant::now() + Duration::from_secs(4);
        while Instant::now() < end {
            match TcpStream::connect(("127.0.0.1", port)) {
                Ok(stream) => behave(stream),
                Err(_) => thread::sleep(Duration::from_millis(20)),
            }
        }
    };
    (0..count).map(|_| thread::spawn(connect)).collect()
}

/// Sends nothing for a while.
fn silent(_stream: TcpStream) {
    thread::sleep(Duration::from_millis(700));
}

/// Sends the right bytes, one at a time.
fn slow(mut stream: TcpStream) {
    for byte in b"slpo\x02\0\0\0" {
        let _ = stream.write_all(&[*byte]);
        thread::sleep(Duration::from_millis(100));
    }
}

/// Connects and disconnects, as a port scanner does.
fn brief(stream: TcpStream) {
    drop(stream);
    thread::sleep(Duration::from_millis(5));
}

fn loud(mut stream: TcpStream) {
    let _ = stream.write_all(&[b'S'; 4096]);
    thread::sleep(Duration::from_millis(5));
}

#[test]
fn the_limit_holds_and_the_processes_meet_whoever_else_connects() {
    let meet = |(behave, count): (fn(TcpStream), usize)| {
        let port = free_port();
        let crowd = strangers(port, count, behave);
        let started = Instant::now();
        let short = Place { join_limit: Duration::from_secs(1), ..place(0, 2, port) };
        let message = join(short).err().unwrap().to_string();
        assert!(message.contains("those of rank 1 did not come") && started.elapsed() < Duration::from_secs(8), "{message}");
        // The strangers are still connected, and the processes meet nevertheless.
        let pair: Vec<_> = (0..2).map(|rank| thread::spawn(move || join(place(rank, 2, port)).map(|processes| processes.size()))).collect();
        pair.into_iter().for_each(|process| assert_eq!(process.join().unwrap().unwrap(), 2));
        crowd.into_iter().for_each(|stranger| stranger.join().unwrap());
    };
    thread::scope(|scope| {
        for who in [(silent as fn(TcpStream), 100), (slow, 20), (brief, 4), (loud, 4)] {
            scope.spawn(move || meet(who));
        }
    });
}

#[test]
fn a_process_that_goes_before_all_are_there_may_come_again() {
    let port = free_port();
    let first = thread::spawn(move || join(place(0, 3, port)).map(|processes| processes.size()));
    let hello = super::handshake::Hello::new(&place(1, 3, port)).unwrap();
    for _ in 0..2 {
        let mut stream = loop {
            match TcpStream::connect(("127.0.0.1", port)) {
                Ok(stream) => break stream,
                Err(_) => thread::sleep(Duration::from_millis(20)),
            }
        };
        stream.write_all(&hello.0).unwrap();
        thread::sleep(Duration::from_millis(300));
    }
    let others: Vec<_> = (1..3).map(|rank| thread::spawn(move || join(place(rank, 3, port)).map(|processes| processes.size()))).collect();
    assert_eq!(first.join().unwrap().unwrap(), 3);
    others.into_iter().for_each(|other| assert_eq!(other.join().unwrap().unwrap(), 3));
}

#[test]
fn only_processes_with_the_secret_meet_and_neither_side_takes_another() {
    let with = |rank: usize, port: u16, secret: Option<&str>, seconds: u64| Place {
        secret: secret.map(|text| super::super::launch::Secret::new(text).unwrap()),
        join_limit: Duration::from_secs(seconds),
        ..place(rank, 2, port)
    };
    let (ours, other) = (Some("the secret of this run"), Some("the secret of another"));
    let port = free_port();
    let first = with(0, port, ours, 30);
    let first = thread::spawn(move || join(first).map(|processes| processes.size()));
    // Processes without the secret are refused, and the first process keeps waiting.
    let message = join(with(1, port, other, 30)).err().unwrap().to_string();
    assert!(message.contains("does not prove that it has the same SLPO_GROUP_SECRET"), "{message}");
    let message = join(with(1, port, None, 30)).err().unwrap().to_string();
    assert!(message.contains("the first process has a SLPO_GROUP_SECRET, and this one has none"), "{message}");
    // This one answers the challenge with a guess.
    let mut guess = TcpStream::connect(("127.0.0.1", port)).unwrap();
    guess.write_all(&super::handshake::Hello::new(&with(1, port, other, 30)).unwrap().0).unwrap();
    guess.read_exact(&mut [0; 65]).unwrap();
    guess.write_all(&[7; 32]).unwrap();
    let mut answer = String::new();
    guess.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("Rthis process has another SLPO_GROUP_SECRET"), "{answer}");
    assert_eq!(join(with(1, port, ours, 30)).unwrap().size(), 2);
    assert_eq!(first.join().unwrap().unwrap(), 2);
    // A first process without a secret belongs to another run: both sides get an error.
    let port = free_port();
    let first = with(0, port, None, 30);
    let first = thread::spawn(move || join(first).err().unwrap().to_string());
    let message = join(with(1, port, ours, 30)).err().unwrap().to_string();
    assert!(message.contains("has a SLPO_GROUP_SECRET, and the first process has none"), "{message}");
    assert!(first.join().unwrap().contains("has a SLPO_GROUP_SECRET"));
    // The first process reports that it refused a connection.
    let port = free_port();
    let first = with(0, port, ours, 2);
    let first = thread::spawn(move || join(first).err().unwrap().to_string());
    assert!(join(with(1, port, None, 5)).is_err());
    let message = first.join().unwrap();
    assert!(message.contains("1 connections did not prove that they have the same SLPO_GROUP_SECRET"), "{message}");
}

#[test]
fn a_frame_that_claims_a_length_that_nobody_awaits_is_refused_before_there_is_room_for_it() {
    let port = free_port();
    let first = thread::spawn(move || {
        let processes = join(place(0, 2, port)).unwrap();
        processes.gather_at_most(vec![1], 8).unwrap_err().to_string()
    });
    let mut stream = loop {
        match TcpStream::connect(("127.0.0.1", port)) {
            Ok(stream) => break stream,
            Err(_) => thread::sleep(Duration::from_millis(20)),
        }
    };
    stream.write_all(&super::handshake::Hello::new(&place(1, 2, port)).unwrap().0).unwrap();
    stream.read_exact(&mut [0]).unwrap();
    stream.write_all(&[&b"G\0\0\0\0"[..], &u64::MAX.to_le_bytes()].concat()).unwrap();
    let message = first.join().unwrap();
    assert!(message.contains("sends 18446744073709551615 bytes where at most 8 are expected"), "{message}");
}
