//! A card: a claim with its formula, its verdict, and the numbers behind it.

use super::math::mathml;
use serde::Serialize;

/// The verdict on a claim, which sets its colour on the page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Tone {
    /// The claim is true.
    Holds,
    /// The claim is true with a reservation.
    Partly,
    /// The claim is false, misleading or a defect.
    Fails,
}

/// A claim; see [`Report::card`](super::Report::card). All text is escaped.
#[derive(Debug, Clone, Serialize)]
pub struct Card {
    /// The id, the target of links.
    pub id: String,
    /// The claim in words.
    pub heading: String,
    /// The formula in LaTeX, without dollar signs; empty for none.
    #[serde(skip)]
    pub latex: String,
    /// The verdict.
    pub tone: Tone,
    /// The verdict in words.
    pub verdict: String,
    /// What was found.
    pub evidence: String,
    /// What was computed.
    pub computed: String,
    /// The comparisons: what is compared, the number, its prediction, and the allowed difference.
    pub rows: Vec<[String; 4]>,
    /// The source file that computes it.
    pub file: String,
    /// The function in that file.
    pub function: String,
}

impl Card {
    pub(super) fn link(&self) -> (String, Tone) {
        (self.id.clone(), self.tone)
    }

    pub(super) fn math(&self) -> Option<String> {
        (!self.latex.is_empty()).then(|| mathml(&self.latex))
    }
}
