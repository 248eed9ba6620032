//! The cells of the study: one kind of world, draws and labels each. Each cell but the first
//! changes one thing of it.

use super::comparisons::Making;
use super::strings::Strings;
use crate::language::preference::Labelling;

/// The prompts of a world.
pub const PROMPTS: usize = 8;

/// A kind of world with a kind of pairs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cell {
    /// The name in tables and files.
    pub name: &'static str,
    /// The completions.
    pub strings: Strings,
    /// How pairs are made.
    pub making: Making,
}

const BASE: Cell = Cell {
    name: "length 4",
    strings: Strings { letters: 6, longest: 4 },
    making: Making { is_on_policy: true, labelling: Labelling::HigherReward, flipped: 0.0, of_prompt: 16 },
};

const fn of_length(name: &'static str, longest: usize) -> Cell {
    Cell { name, strings: Strings { longest, ..BASE.strings }, ..BASE }
}

const fn of_making(name: &'static str, making: Making) -> Cell {
    Cell { name, making, ..BASE }
}

const fn bradley_terry(temperature: f64) -> Labelling {
    Labelling::BradleyTerry { temperature }
}

/// All cells. In the full study, settings are chosen in the first.
pub const CELLS: [Cell; 11] = [
    BASE,
    of_length("length 2", 2),
    of_length("length 6", 6),
    of_making("off-policy", Making { is_on_policy: false, ..BASE.making }),
    of_making("bradley-terry .5", Making { labelling: bradley_terry(0.5), ..BASE.making }),
    of_making("bradley-terry 1", Making { labelling: bradley_terry(1.0), ..BASE.making }),
    of_making("flipped .1", Making { flipped: 0.1, ..BASE.making }),
    of_making("flipped .2", Making { flipped: 0.2, ..BASE.making }),
    of_making("flipped .3", Making { flipped: 0.3, ..BASE.making }),
    of_making("4 pairs", Making { of_prompt: 4, ..BASE.making }),
    of_making("1 pair", Making { of_prompt: 1, ..BASE.making }),
];

impl Cell {
    /// Returns the cell of this name.
    pub fn named(name: &str) -> Option<Self> {
        CELLS.into_iter().find(|cell| cell.name == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_have_names_of_their_own_and_worlds_of_at_most_some_50_000_completions() {
        for (place, cell) in CELLS.iter().enumerate() {
            assert_eq!(Cell::named(cell.name), Some(*cell));
            assert!(
                CELLS[..place].iter().all(|other| other.name != cell.name && (other.strings, other.making) != (cell.strings, cell.making))
            );
            assert!(cell.strings.count() < 60_000, "{}", cell.name);
        }
    }
}
