//! The report of a study: what was compared, what came out, and the answers.

use super::document::{Document, Item};
use super::figures;
use super::hypotheses::{Answer, Verdict, answers, short, with_interval};
use super::results::{Results, mean, value};
use super::stages::{MIDDLE, Scale, next};
use super::store::{PATHS, Paths, RUNS, read};
use crate::failure::Failure;
use crate::run_folder::write_atomically;
use model::study::arms::ARMS;
use model::study::path::DIVERGENCES;
use std::path::Path;

/// The level of significance.
const LEVEL: f64 = 0.05;

/// Writes the report of the runs in a folder: `report.html`, `results.md`, `results.tex` and the figures. Returns the answers' names and
/// verdicts.
///
/// # Errors
/// [`Failure::Failed`] if the study is not whole, and those of reading and writing its files.
pub fn write(folder: &Path) -> Result<Vec<(&'static str, &'static str)>, Failure> {
    let (name, records) = read(&folder.join(RUNS))?;
    let scale =
        name.and_then(|name| Scale::named(&name)).ok_or_else(|| Failure::Failed(format!("{}: there are no runs yet", folder.display())))?;
    if let Some(stage) = next(&scale, &records) {
        let place = folder.display();
        let reason = format!("{place}: the study is not whole, its stage \"{}\" has runs to make", stage.name);
        return Err(Failure::Failed(format!("{reason}: slpo study --out {place} --resume makes them")));
    }
    let paths = Paths::read(&folder.join(PATHS))?;
    let results = Results::new(scale, &records);
    let answers = answers(&results);
    let document = document(&results, &paths, &answers);
    document.page().write(folder.join("report.html"))?;
    let mut files = vec![("results.md".to_owned(), document.markdown()), ("results.tex".to_owned(), document.latex())];
    files.extend(document.figures()?);
    for (file, text) in files {
        let path = folder.join(file);
        write_atomically(&path, text.as_bytes()).map_err(model::Error::io(&path))?;
    }
    Ok(answers.iter().map(|answer| (answer.name, answer.verdict.words())).collect())
}

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
         seeds of \
         their own. Rewards are above the reference's, in standard deviations of the reward."
            .to_owned(),
    ));
    items.push(reward_table(results));
    items.push(figure(
        "paths",
        "Reward against divergence",
        "Means over seeds at the settings chosen for the middle κ. A line ends where not all runs get that far.",
        Some(figures::paths(results, paths)),
    ));
    items.push(beside_table(results));
    items.push(figure(
        "forest",
        "Each arm beside dpo",
        "Means over seeds with half the width of their 95 % intervals, before correction.",
        Some(figures::forest(results)),
    ));
    items.push(Item::Section("What else moves".to_owned()));
    items.push(moved_table(results));
    items.push(figure(
        "drift",
        "Completions that nobody compared",
        "The drift of the reference's other completions, KL(ref‖π) among them.",
        Some(figures::drift(results, paths)),
    ));
    items.push(figure("lengths", "Gain against length", "Settings as chosen at length 4.", figures::lengths(results)));
    items.push(figure("noise", "Flipped labels", "Settings as chosen with clean labels.", figures::noise(results)));
    items.push(Item::Section("Settings".to_owned()));
    items.push(settings_table(results));
    items.retain(|item| !matches!(item, Item::Section(text) if text.is_empty()));
    Document { title: "A study of preference losses where everything is known".to_owned(), lead: lead(results, answers), items }
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
        "{} losses in {} kinds of small worlds, whose rewards and probabilities are known exactly: {runs} runs, {hours:.1} processor \
         hours. \
         {} hypotheses: {} held, {} did not, {} could not be told.",
        ARMS.len(),
        results.scale.cells.len(),
        answers.len(),
        count(Verdict::Holds),
        count(Verdict::DoesNotHold),
        count(Verdict::CannotBeTold)
    )
}

fn answer_table(answers: &[Answer]) -> Item {
    let rows = answers.iter().map(|answer| vec![format!("{} {}", answer.name, answer.title), answer.verdict.words().to_owned()]);
    table("Every hypothesis was written down before the first run.", ["hypothesis", "answer"].map(str::to_owned).to_vec(), rows.collect())
}

fn table(caption: impl Into<String>, columns: Vec<String>, rows: Vec<Vec<String>>) -> Item {
    Item::Table { caption: caption.into(), columns, rows }
}

fn of_divergences(first: &str) -> Vec<String> {
    std::iter::once(first.to_owned()).chain(DIVERGENCES.map(|divergence| format!("κ = {divergence}"))).collect()
}

fn reward_table(results: &Results) -> Item {
    let cell = |arm: usize, place: usize| {
        let reward = mean(&results.fresh(arm, place, |record| record.reached[place].values[0]));
        let reached = results.fresh(arm, place, |record| f64::from(u8::from(record.reached[place].is_reached))).iter().sum::<f64>();
        let share = mean(&results.share(arm, place));
        let missing = if reached < results.scale.fresh_seeds.len() as f64 { format!(", reached {reached}") } else { String::new() };
        format!("{} ({:.0} %{missing})", short(reward), 100.0 * share)
    };
    let row = |arm: usize| std::iter::once(ARMS[arm].name.to_owned()).chain((0..DIVERGENCES.len()).map(|place| cell(arm, place))).collect();
    let best = (0..DIVERGENCES.len()).map(|place| short(mean(&results.fresh(0, place, |record| record.best[place]))));
    let mut rows: Vec<Vec<String>> = vec![std::iter::once("best possible".to_owned()).chain(best).collect()];
    rows.extend((0..ARMS.len()).map(row));
    let caption =
        "Mean reward over seeds, in brackets its share of the best possible, and the number of runs that reach κ where not all do.";
    table(caption, of_divergences("arm"), rows)
}

fn beside_table(results: &Results) -> Item {
    let by_place: Vec<_> = (0..DIVERGENCES.len()).map(|place| results.beside_dpo(place)).collect();
    let cell = |beside: &super::results::Beside| {
        let mark = if beside.corrected < LEVEL { " *" } else { "" };
        format!("{}{mark}", with_interval(&beside.difference))
    };
    let row = |i: usize| {
        let cells = by_place.iter().map(|besides| cell(&besides[i]));
        std::iter::once(ARMS[by_place[0][i].arm].name.to_owned()).chain(cells).collect()
    };
    let caption = "Reward less dpo's, paired by seed: mean and 95 % interval (studentised bootstrap). * marks p < 0.05 after Holm's \
     correction over all arms.";
    table(caption, of_divergences("arm"), (0..by_place[0].len()).map(row).collect())
}

fn moved_table(results: &Results) -> Item {
    let names = [
        ("reverse_kl", "KL(ref‖π)"),
        ("chosen", "ln π/ref chosen"),
        ("rejected", "ln π/ref rejected"),
        ("fallen", "chosen fell"),
        ("others", "mass of others"),
        ("drift", "drift of others"),
    ];
    let cell = |arm: usize, name: &str| short(mean(&results.fresh(arm, MIDDLE, |record| value(&record.reached[MIDDLE].values, name))));
    let row = |arm: usize| std::iter::once(ARMS[arm].name.to_owned()).chain(names.iter().map(|(name, _)| cell(arm, name))).collect();
    let columns = std::iter::once("arm").chain(names.map(|(_, shown)| shown)).map(str::to_owned).collect();
    let caption = format!("Means over seeds where KL(π‖ref) first reaches {} nats, or at the end.", DIVERGENCES[MIDDLE]);
    table(caption, columns, (0..ARMS.len()).map(row).collect())
}

fn settings_table(results: &Results) -> Item {
    let cell = |arm: usize, place: usize| {
        let trial = results.chosen[arm][place];
        let rate = model::study::grid::learning_rate(&ARMS[arm], trial);
        let strength = ARMS[arm].strength_at(trial.strength).map_or_else(String::new, |strength| format!(", {}", short(strength)));
        format!("{rate:.1e}{strength}")
    };
    let row = |arm: usize| std::iter::once(ARMS[arm].name.to_owned()).chain((0..DIVERGENCES.len()).map(|place| cell(arm, place))).collect();
    table(
        "The chosen learning rate, and the strength of the loss if it has one.",
        of_divergences("arm"),
        (0..ARMS.len()).map(row).collect(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::study::record::{Key, Record};
    use crate::commands::study::stages::drawn;
    use crate::commands::study::store::Store;
    use model::study::path::Moment;
    use model::study::prepared::Run;

    /// A run whose reward grows with its divergence, the more for arms that come first in the table.
    fn made_up(key: Key) -> (Record, Vec<Moment>) {
        let moment = |step: u64| {
            let divergence = step as f64 / key.steps as f64 * 3.0;
            let reward = divergence / (1.0 + key.arm as f64) * (1.0 + 0.01 * key.seed as f64);
            Moment { step, divergence, values: [reward, divergence, 0.1, -0.2, 0.3, 0.01, divergence] }
        };
        let path: Vec<Moment> = (0..=4).map(|part| moment(part * key.steps / 4)).collect();
        let run = Run { path: path.clone(), broken_at: None, ches_auc: Some(0.6) };
        (Record::new(key, &run, [1.0; DIVERGENCES.len()], 0.1, 0.5), path)
    }

    #[test]
    fn a_whole_study_has_a_report_with_every_arm_and_figure_and_an_unfinished_one_says_what_lacks() {
        let folder = tempfile::tempdir().unwrap();
        let scale = Scale::quick();
        let mut store = Store::begin(folder.path(), &scale).unwrap();
        assert!(write(folder.path()).unwrap_err().to_string().contains("there are no runs yet"));
        let mut is_first = true;
        while let Some(stage) = next(&scale, store.records()) {
            let is_drawn = drawn(&stage, &scale, store.records());
            for key in stage.keys.into_iter().filter(|key| !store.records().contains_key(key)).collect::<Vec<_>>() {
                let (record, path) = made_up(key);
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
        for figure in ["paths", "forest", "drift"] {
            assert!(text(&format!("{figure}.svg")).starts_with("<svg") && text("results.md").contains(&format!("({figure}.svg)")));
        }
        assert!(text("results.tex").contains("\\section{Results}") && !text("results.tex").contains('κ'));
        // A study that is whole goes on with nothing, and its report is the same.
        let before = text("results.md");
        assert_eq!(next(&scale, Store::resume(folder.path(), &scale).unwrap().records()), None);
        write(folder.path()).unwrap();
        assert_eq!(text("results.md"), before);
    }
}
