//! The tables of a study's report that every study has.

use super::document::Item;
use super::hypotheses::{short, with_interval};
use super::results::{Beside, Results, mean};

/// Makes a table whose first column is text.
pub fn table(caption: impl Into<String>, columns: Vec<String>, rows: Vec<Vec<String>>) -> Item {
    Item::Table { caption: caption.into(), columns, rows }
}

fn of_divergences(results: &Results) -> Vec<String> {
    let columns = results.design.divergences.iter().map(|divergence| format!("κ = {divergence}"));
    std::iter::once("arm".to_owned()).chain(columns).collect()
}

/// A row for each arm, whose cells belong to the divergences.
fn rows(results: &Results, cell: impl Fn(usize, usize) -> String) -> Vec<Vec<String>> {
    let design = &results.design;
    let cells = |arm: usize| (0..design.divergences.len()).map(|place| cell(arm, place)).collect::<Vec<_>>();
    design.arms.iter().enumerate().map(|(arm, of)| std::iter::once(of.name.to_owned()).chain(cells(arm)).collect()).collect()
}

/// The outcome of every arm at every divergence.
pub fn outcomes(results: &Results) -> Item {
    let design = &results.design;
    let cell = |arm: usize, place: usize| {
        let outcome = mean(&results.fresh(arm, place, |record| record.reached[place].values[0]));
        let reached = results.fresh(arm, place, |record| f64::from(u8::from(record.reached[place].is_reached))).iter().sum::<f64>();
        let share = design.has_best.then(|| format!("{:.0} %", 100.0 * mean(&results.share(arm, place))));
        let missing = (reached < design.fresh_seeds.len() as f64).then(|| format!("reached {reached}"));
        let beside: Vec<String> = share.into_iter().chain(missing).collect();
        if beside.is_empty() { short(outcome) } else { format!("{} ({})", short(outcome), beside.join(", ")) }
    };
    let mut all = rows(results, cell);
    let mut caption = format!("Mean {} over seeds, with the number of runs that reach κ where not all do.", design.outcome);
    if design.has_best {
        let best = (0..design.divergences.len()).map(|place| short(mean(&results.fresh(0, place, |record| record.best[place]))));
        all.insert(0, std::iter::once("best possible".to_owned()).chain(best).collect());
        caption += " In brackets its share of the best possible.";
    }
    table(caption, of_divergences(results), all)
}

/// Every arm beside the first.
pub fn beside(results: &Results) -> Item {
    let design = &results.design;
    let by_place: Vec<Vec<Beside>> = (0..design.divergences.len()).map(|place| results.beside_first(place)).collect();
    let cell = |arm: usize, place: usize| {
        let Some(beside) = arm.checked_sub(1).map(|other| &by_place[place][other]) else { return String::new() };
        let mark = if beside.is_told() { " *" } else { "" };
        format!("{}{mark}", with_interval(&beside.difference))
    };
    let caption = format!(
        "Outcome less that of {}, paired by seed: mean and 95 % interval (studentised bootstrap). * marks p < 0.05 after Holm's correction \
         over all arms.",
        design.arms[0].name
    );
    table(caption, of_divergences(results), rows(results, cell).split_off(1))
}

/// Other values where runs reach the middle divergence: each by its name in the file of runs, and its words.
pub fn moved(results: &Results, names: &[(&str, &str)]) -> Item {
    let design = &results.design;
    let middle = design.middle();
    let cells = |arm: usize| names.iter().map(move |(name, _)| short(mean(&results.values(arm, middle, name))));
    let row = |(arm, of): (usize, &model::study::arms::Arm)| std::iter::once(of.name.to_owned()).chain(cells(arm)).collect();
    let columns = std::iter::once("arm").chain(names.iter().map(|(_, words)| *words)).map(str::to_owned).collect();
    let caption = format!("Means over seeds where {} first reaches {}, or at the end.", design.divergence, design.divergences[middle]);
    table(caption, columns, design.arms.iter().enumerate().map(row).collect())
}

/// The chosen settings.
pub fn settings(results: &Results) -> Item {
    let design = &results.design;
    let cell = |arm: usize, place: usize| {
        let trial = results.chosen[arm][place];
        let strength = design.strength(arm, trial).map_or_else(String::new, |strength| format!(", {}", short(strength)));
        format!("{:.1e}{strength}", design.learning_rate(arm, trial))
    };
    let caption = "The chosen learning rate, and the strength of the loss if it has one.";
    table(caption, of_divergences(results), rows(results, cell))
}
