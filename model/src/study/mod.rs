//! A study of the losses where their policies are equally far from the reference: in worlds that can be enumerated, whose every reward and
//! divergence is known exactly, in the small language, and on a person's own pairs.
//!
//! | module | what |
//! |---|---|
//! | [`strings`] | the completions of a world, as a tree |
//! | [`world`] | a world drawn from a seed: prompts, a distribution, a reward |
//! | [`tree`] | the probabilities that a decoder gives to every completion, in f64 |
//! | [`measure`] | expected reward, divergences, and the most reward that a divergence allows |
//! | [`comparisons`] | pairs of completions with their labels |
//! | [`arms`] | the losses that are compared, each with its own strength |
//! | [`cells`] | the kinds of worlds and labels |
//! | [`path`] | what one run was at some moments, and where it reached a divergence |
//! | [`run`] | one run of an arm |
//! | [`prepared`] | a world with its reference and its pairs, and what is measured in it |
//! | [`learned_language`] | a decoder that has learned the small language, its completions and pairs of them |
//! | [`in_language`] | runs in the small language, measured by draws |
//! | [`own_pairs`] | a person's own pairs and model, and what is measured on them |
//! | [`grid`] | the settings that are tried, and the rule that chooses one |
//! | [`statistics`] | means over seeds with intervals, and corrections for many comparisons |

pub mod arms;
pub mod cells;
pub mod comparisons;
pub mod grid;
pub mod in_language;
pub mod learned_language;
pub mod measure;
pub mod own_pairs;
pub mod path;
pub mod prepared;
pub mod run;
pub mod statistics;
pub mod strings;
pub mod tree;
pub mod world;
