//! The report of a study: what was compared, what came out, and the answers.

use super::design::Design;
use super::document::{Document, Item};
use super::figures;
use super::hypotheses::{Answer, Verdict, answers};
use super::results::Results;
use super::stages::next;
use super::store::{PATHS, Paths, RUNS, read, study_of, text_of};
use super::tables;
use crate::failure::Failure;
use model::study::arms::ARMS;
use std::path::Path;

/// Writes the report of the runs in a folder: `report.html`, `results.md`, `results.tex` and the figures. Returns the answers' names and
/// verdicts.
///
/// # Errors
/// [`Failure::Failed`] if the study is not whole, and those of reading and writing its files.
pub fn write(folder: &Path) -> Result<Vec<(&'static str, &'static str)>, Failure> {
    let runs = folder.join(RUNS);
    let failed = |reason: &str| Failure::Failed(format!("{}: {reason}", folder.display()));
    let text = text_of(&runs)?;
    let name = study_of(&text).ok_or_else(|| failed("there are no runs yet"))?;
    let design = Design::named(name).ok_or_else(|| failed(&format!("these are runs of slpo {name}: that command writes their report")))?;
    let records = read(&runs, &text, &design)?;
    if let Some(stage) = next(&design, &records) {
        let place = folder.display();
        let reason = format!("{place}: the study is not whole, its stage \"{}\" has runs to make", stage.name);
        return Err(Failure::Failed(format!("{reason}: slpo study --out {place} --resume makes them")));
    }
    let paths = Paths::read(&folder.join(PATHS), &design)?;
    let results = Results::new(design, &records);
    let answers = answers(&results);
    document(&results, &paths, &answers).write(folder)?;
    Ok(answers.iter().map(|answer| (answer.name, answer.verdict.words())).collect())
}

/// What else moves, by its name in the file of runs and in words.
const MOVED: [(&str, &str); 9] = [
    ("reverse_kl", "KL(ref‖π)"),
    ("chosen", "ln π/ref chosen"),
    ("rejected", "ln π/ref rejected"),
    ("fallen", "chosen fell"),
    ("others", "mass of others"),
    ("drift", "drift of others"),
    ("reward_error", "± of the reward"),
    ("kl_error", "± of KL(π‖ref)"),
    ("reverse_kl_error", "± of KL(ref‖π)"),
];

fn document(results: &Results, paths: &Paths, answers: &[Answer]) -> Document {
    let mut items = vec![Item::Section("The hypotheses".to_owned()), answer_table(answers)];
    items.extend(
        answers
            .iter()
            .map(|answer| Item::Paragraph(format!("{} ({}). {} {}", answer.name, answer.verdict.words(), answer.claim, answer.numbers))),
    );
    items.push(Item::Section("Reward at matched divergence".to_owned()));
    items.push(Item::Paragraph(
        "A run counts where its KL(π‖ref) first reaches κ; one that never does has its last value. Settings were chosen for each κ on \
         seeds of their own. Rewards are above the reference's."
            .to_owned(),
    ));
    items.push(tables::outcomes(results));
    items.push(figure(
        "matched",
        "Reward at matched divergence",
        "Means over seeds, each point at the settings chosen for its κ.",
        Some(figures::matched(results)),
    ));
    items.push(figure(
        "paths",
        "Reward along the runs",
        "Means over seeds at the settings chosen for the middle κ. A line ends where not all runs get that far.",
        Some(figures::paths(results, paths)),
    ));
    items.push(tables::beside(results));
    items.push(figure(
        "forest",
        "Each arm beside dpo",
        "Means over seeds with half the width of their 95 % intervals, before correction.",
        Some(figures::forest(results)),
    ));
    items.push(Item::Section("What else moves".to_owned()));
    let moved: Vec<(&str, &str)> = MOVED.into_iter().filter(|(name, _)| results.design.values.contains(name)).collect();
    items.push(tables::moved(results, &moved));
    let is_measured = |name: &str| results.design.values.contains(&name);
    items.push(figure(
        "drift",
        "Completions that nobody compared",
        "The drift of the reference's other completions, KL(ref‖π) among them.",
        is_measured("drift").then(|| figures::over_steps(results, paths, "drift", "drift of the others (nats)")),
    ));
    items.push(figure("lengths", "Gain against length", "Settings as chosen at length 4.", figures::lengths(results)));
    items.push(figure("noise", "Flipped labels", "Settings as chosen with clean labels.", figures::noise(results)));
    items.push(Item::Section("Settings".to_owned()));
    items.push(tables::settings(results));
    items.retain(|item| !matches!(item, Item::Section(text) if text.is_empty()));
    Document { title: "A study of preference losses at equal divergence".to_owned(), lead: lead(results, answers), items }
}

/// A figure, or an empty section, which is left out.
fn figure(file: &'static str, title: &str, caption: &str, chart: Option<crate::report::chart::Chart>) -> Item {
    match chart {
        Some(chart) => Item::Figure { file, title: title.to_owned(), caption: caption.to_owned(), chart },
        None => Item::Section(String::new()),
    }
}

fn lead(results: &Results, answers: &[Answer]) -> String {
    let runs = results.records.len();
    let hours = results.records.values().map(|record| record.seconds).sum::<f64>() / 3600.0;
    let count = |verdict: Verdict| answers.iter().filter(|answer| answer.verdict == verdict).count();
    format!(
        "{} losses and forms of losses {}: {runs} runs, {hours:.1} processor hours. {} hypotheses: {} held, {} did not, {} could not be \
         told.",
        ARMS.len(),
        results.design.place,
        answers.len(),
        count(Verdict::Holds),
        count(Verdict::DoesNotHold),
        count(Verdict::CannotBeTold)
    )
}

fn answer_table(answers: &[Answer]) -> Item {
    let rows = answers.iter().map(|answer| vec![format!("{} {}", answer.name, answer.title), answer.verdict.words().to_owned()]);
    tables::table(
        "Every hypothesis was written down before the first run.",
        ["hypothesis", "answer"].map(str::to_owned).to_vec(),
        rows.collect(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::study::design::Key;
    use crate::commands::study::record::Record;
    use crate::commands::study::stages::drawn;
    use crate::commands::study::store::Store;
    use model::study::path::Moment;
    use model::study::run::StudyRun;

    /// A run whose reward grows with its divergence, the more for arms that come first in the table.
    fn made_up(key: Key, design: &Design) -> (Record, Vec<Moment>) {
        let moment = |step: u64| {
            let divergence = step as f64 / key.steps as f64 * 3.0;
            let reward = divergence / (1.0 + key.arm as f64) * (1.0 + 0.01 * key.seed as f64);
            Moment { step, divergence, values: vec![reward, divergence, 0.1, -0.2, 0.3, 0.01, divergence] }
        };
        let path: Vec<Moment> = (0..=4).map(|part| moment(part * key.steps / 4)).collect();
        let run = StudyRun { path, broken_at: None, facts: vec![Some(0.6), Some(0.1)] };
        Record::new(key, run, vec![1.0; design.divergences.len()], 0.5, design)
    }

    #[test]
    fn a_whole_study_has_a_report_with_every_arm_and_figure_and_an_unfinished_one_says_what_lacks() {
        let folder = tempfile::tempdir().unwrap();
        let design = Design::quick();
        let mut store = Store::begin(folder.path(), &design).unwrap();
        assert!(write(folder.path()).unwrap_err().to_string().contains("there are no runs yet"));
        let mut is_first = true;
        while let Some(stage) = next(&design, store.records()) {
            let is_drawn = drawn(&stage, &design, store.records());
            for key in stage.keys.into_iter().filter(|key| !store.records().contains_key(key)).collect::<Vec<_>>() {
                let (record, path) = made_up(key, &design);
                store.add(record, &path, is_drawn.contains(&key)).unwrap();
                if std::mem::take(&mut is_first) {
                    let message = write(folder.path()).unwrap_err().to_string();
                    assert!(message.contains("its stage \"tuning\" has runs to make") && message.contains("--resume"), "{message}");
                }
            }
        }
        let answers = write(folder.path()).unwrap();
        assert!(answers.contains(&("H7", "holds")), "the first arm is made up to be the best: {answers:?}");
        let text = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap();
        for arm in ARMS {
            assert!(text("results.md").contains(&format!("| {} |", arm.name)) && text("report.html").contains(arm.name), "{}", arm.name);
        }
        for figure in ["matched", "paths", "forest", "drift"] {
            assert!(text(&format!("{figure}.svg")).starts_with("<svg") && text("results.md").contains(&format!("({figure}.svg)")));
        }
        assert!(text("results.tex").contains("\\section{Results}") && !text("results.tex").contains('κ'));
        // A study that is whole goes on with nothing, and its report is the same.
        let before = text("results.md");
        assert_eq!(next(&design, Store::resume(folder.path(), &design).unwrap().records()), None);
        write(folder.path()).unwrap();
        assert_eq!(text("results.md"), before);
    }
}
