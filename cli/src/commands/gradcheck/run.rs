//! Checks many subjects in parallel, and returns the results in the order of the subjects.

use super::subjects::Subject;
use engine::gradcheck::{Input, Report, Settings, check_entry, check_entry_with};
use std::num::NonZero;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;

/// The largest extent of a sample's axes.
const EXTENT: usize = 4;

/// The extent of a run of checks.
#[derive(Clone, Copy, Debug)]
pub struct CheckPlan {
    /// The seed of each subject's first sample. The other samples use the following seeds.
    pub seed: u64,
    /// Samples of each subject, if the command line gives them.
    pub samples: Option<u64>,
    /// True if fewer samples are drawn.
    pub quick: bool,
    /// Threads, if the command line gives them.
    pub threads: Option<usize>,
    /// True if a page is written, which shows elements.
    pub page: bool,
    /// True if subjects were named. Each named subject is shown element by element.
    pub named: bool,
}

/// A subject's results.
pub struct Checked {
    /// The worst error of all samples, by method.
    pub report: Report,
    /// One sample with every comparison, for the page.
    pub detail: Option<Detail>,
}

/// One sample, element by element.
pub struct Detail {
    /// Its seed.
    pub seed: u64,
    /// Its checks with their comparisons.
    pub report: Report,
    /// Its inputs.
    pub inputs: Vec<Input>,
}

/// Checks every subject, and shows each result in the order of the subjects. Uses one thread for each core, or as many as the plan says.
///
/// The threads are not those of the kernels' thread pool, and each takes whole subjects. In the pool, a subject's work could run while
/// another subject has paused recording.
///
/// # Errors
/// The errors of `show`. Running checks are finished, and their results are lost.
pub fn all<E>(subjects: &[Subject], plan: &CheckPlan, mut show: impl FnMut(&Checked) -> Result<(), E>) -> Result<Vec<Checked>, E> {
    let threads = plan.threads.unwrap_or_else(|| thread::available_parallelism().map_or(1, NonZero::get));
    let next = AtomicUsize::new(0);
    let (sender, receiver) = mpsc::channel();
    thread::scope(|scope| {
        for place in 0..threads.min(subjects.len()) {
            let (next, sender) = (&next, sender.clone());
            let work = move || {
                while let Some((index, subject)) = take(subjects, next) {
                    if sender.send((index, check(subject, plan))).is_err() {
                        break;
                    }
                }
            };
            // If the system starts no more threads, those that run do the work. If none runs, this thread does it.
            if thread::Builder::new().spawn_scoped(scope, work.clone()).is_err() && place == 0 {
                work();
            }
        }
        drop(sender);
        let mut waiting: Vec<Option<Checked>> = subjects.iter().map(|_| None).collect();
        let mut done = Vec::with_capacity(subjects.len());
        for (index, checked) in receiver {
            waiting[index] = Some(checked);
            while let Some(checked) = waiting.get_mut(done.len()).and_then(Option::take) {
                show(&checked)?;
                done.push(checked);
            }
        }
        Ok(done)
    })
}

fn take<'a>(subjects: &'a [Subject], next: &AtomicUsize) -> Option<(usize, &'a Subject)> {
    let index = next.fetch_add(1, Ordering::Relaxed);
    subjects.get(index).map(|subject| (index, subject))
}

fn check(subject: &Subject, plan: &CheckPlan) -> Checked {
    let samples = plan.samples.unwrap_or_else(|| subject.part.samples(plan.quick));
    let seeds: Vec<u64> = (0..samples).map(|i| plan.seed.wrapping_add(i)).collect();
    let report = check_entry(&subject.entry, seeds.iter().copied(), EXTENT);
    let detail = plan.page.then(|| seed_to_show(subject, &report, &seeds, plan.named)).flatten();
    let detail = detail.map(|seed| {
        let settings = Settings { comparisons: true, ..Settings::default() };
        let report = check_entry_with(&subject.entry, [seed], EXTENT, &settings);
        Detail { seed, report, inputs: subject.entry.sample(seed, EXTENT).inputs }
    });
    Checked { report, detail }
}

/// Chooses the sample to show: the worst of a failed check, else the largest that is checked element by element. Models are larger than
/// this limit and would fill the page, so they are shown only if they were named.
fn seed_to_show(subject: &Subject, report: &Report, seeds: &[u64], named: bool) -> Option<u64> {
    let failed = report.checks.iter().find(|check| !check.passed);
    if let Some(seed) = failed.and_then(|check| check.worst.as_ref()?.seed) {
        return Some(seed);
    }
    let elements = |seed: u64| subject.entry.sample(seed, EXTENT).inputs.iter().map(|input| input.data.len()).sum::<usize>();
    let limit = Settings::default().element_limit;
    let by_element = seeds.iter().copied().filter(|&seed| elements(seed) <= limit).max_by_key(|&seed| elements(seed));
    by_element.or(if named { seeds.first().copied() } else { None })
}
