//! Explanations for a person: as text, as a page, as JSON.

mod drawing;
pub mod groups;
mod json;
mod mathml;
mod numbers;
mod page;
mod text;
mod tree;
mod unicode;

pub use json::Explained;
pub use mathml::MathMl;
pub use page::page;
pub use text::text;

use engine::explain::Explanation;

/// Every op and loss that is explained, the ops first.
pub fn all() -> Vec<Explanation> {
    engine::ops::explanations().into_iter().chain(losses::explanations()).collect()
}
