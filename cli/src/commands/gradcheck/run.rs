//! Checking many subjects side by side, and handing the results out in their order.

use super::subjects::Subject;
use engine::gradcheck::{Input, Report, Settings, check_entry, check_entry_with};
use std::num::NonZero;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;

/// The largest extent of a sample's axes.
const EXTENT: usize = 4;

/// How much is checked.
#[derive(Clone, Copy, Debug)]
pub struct CheckPlan {
    /// The seed of each subject's first sample; the others follow it.
    pub seed: u64,
    /// Samples of each subject, where the command line says.
    pub samples: Option<u64>,
    /// Fewer samples.
    pub quick: bool,
    /// Threads, where the command line says.
    pub threads: Option<usize>,
    /// True if a page is wanted, which shows elements.
    pub page: bool,
    /// True if subjects were named; each is then shown element by element.
    pub named: bool,
}

/// A subject's results.
pub struct Checked {
    /// The worst of all samples, by method.
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
    /// Its point.
    pub inputs: Vec<Input>,
}

/// Checks every subject, on as many threads as there are cores or as the plan says, and shows each result in the subjects' order.
///
/// Threads of their own take whole subjects: inside the kernels' thread pool, one subject's work could run in the middle of another's
/// pause of recording.
///
/// # Errors
/// Those of `show`; the checks go on, their results are lost.
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
            // Where the system starts no more threads, those that run do the work; this one where there are none.
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

/// The sample to show: the worst of a check that failed, else the largest that is checked element by element. Models are larger than that
/// and fill a page: they are shown where they were named.
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
