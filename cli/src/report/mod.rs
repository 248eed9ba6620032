//! A report: one self-contained HTML page with text, tables and charts.
//!
//! The page needs no network, no script and no other file. Text is escaped by the template engine; charts are inline SVG
//! whose colours the page's style sheet adapts to a light or dark screen. A series keeps its colour, dash and marker by its name
//! throughout the page.

mod card;
pub mod chart;
pub mod font;
mod math;
mod table;
#[cfg(test)]
mod tests;

use std::io;
use std::path::{Path, PathBuf};

pub use card::{Card, Tone};
use chart::Chart;
use chart::style::Styles;
use minijinja::value::Serde;
use serde::Serialize;
pub use table::{Align, Table};

/// The reason why a report cannot be made or written.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// The system refused to write the file.
    #[error("cannot write the report {}: {}", .path.display(), model::error::io_words(source))]
    Write {
        /// The report's path.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The chart library failed.
    #[error("cannot draw the figure \"{figure}\": {reason}")]
    Draw {
        /// The figure's title.
        figure: String,
        /// The library's reason.
        reason: String,
    },
    /// The page's template failed: a defect of this program.
    #[error("cannot lay out the report: {0}")]
    Template(#[from] minijinja::Error),
}

/// A piece of the page.
#[derive(Debug, Clone)]
enum Block {
    Section(String),
    Paragraph(String),
    Preformatted(String),
    KeyValues(Vec<(String, String)>),
    Table(Table),
    Figure { title: String, caption: String, chart: Chart },
    Fragment(String),
    Card(Card),
    Index(Vec<(String, Tone)>),
}

/// A report under construction. Blocks appear in the order in which they are added.
#[derive(Debug, Clone)]
pub struct Report {
    title: String,
    lead: Option<String>,
    style: String,
    blocks: Vec<Block>,
}

impl Report {
    /// Creates an empty page.
    pub fn new(title: impl Into<String>) -> Self {
        Self { title: title.into(), lead: None, style: String::new(), blocks: Vec::new() }
    }

    /// Sets the sentence or two below the title: what was done, and the result.
    #[must_use]
    pub fn lead(mut self, text: impl Into<String>) -> Self {
        self.lead = Some(text.into());
        self
    }

    /// Begins a section.
    #[must_use]
    pub fn section(self, heading: impl Into<String>) -> Self {
        self.with(Block::Section(heading.into()))
    }

    /// Adds a paragraph.
    #[must_use]
    pub fn paragraph(self, text: impl Into<String>) -> Self {
        self.with(Block::Paragraph(text.into()))
    }

    /// Adds text whose line breaks and spaces are kept, such as samples or a command.
    #[must_use]
    pub fn preformatted(self, text: impl Into<String>) -> Self {
        self.with(Block::Preformatted(text.into()))
    }

    /// Adds a list of names with their values, such as the settings of a run or its main numbers.
    #[must_use]
    pub fn key_values<K: Into<String>, V: Into<String>>(self, pairs: impl IntoIterator<Item = (K, V)>) -> Self {
        let pairs = pairs.into_iter().map(|(key, value)| (key.into(), value.into())).collect();
        self.with(Block::KeyValues(pairs))
    }

    /// Adds a table.
    #[must_use]
    pub fn table(self, table: Table) -> Self {
        self.with(Block::Table(table))
    }

    /// Adds a chart. The caption says what to look for.
    #[must_use]
    pub fn figure(self, title: impl Into<String>, caption: impl Into<String>, chart: impl Into<Chart>) -> Self {
        let (title, caption, chart) = (title.into(), caption.into(), chart.into());
        self.with(Block::Figure { title, caption, chart })
    }

    /// Adds markup of a command's own, which must be escaped already.
    #[must_use]
    pub fn fragment(self, html: impl Into<String>) -> Self {
        self.with(Block::Fragment(html.into()))
    }

    /// Adds rules to the page's style sheet, for fragments.
    #[must_use]
    pub fn style(mut self, css: &str) -> Self {
        self.style += css;
        self
    }

    /// Adds a claim with its formula, verdict and numbers.
    #[must_use]
    pub fn card(self, card: Card) -> Self {
        self.with(Block::Card(card))
    }

    /// Adds links to the page's cards, by their ids.
    #[must_use]
    pub fn index<'a>(self, cards: impl IntoIterator<Item = &'a Card>) -> Self {
        let links = cards.into_iter().map(Card::link).collect();
        self.with(Block::Index(links))
    }

    /// Returns the page as HTML.
    ///
    /// # Errors
    /// [`ReportError::Draw`], [`ReportError::Template`].
    pub fn render(&self) -> Result<String, ReportError> {
        let mut styles = Styles::default();
        let blocks: Vec<View> = self.blocks.iter().map(|block| view(block, &mut styles)).collect::<Result<_, _>>()?;
        let font = font::style_sheet(blocks.iter().filter_map(View::markup));
        let mut environment = minijinja::Environment::new();
        environment.add_template("report.html", include_str!("template.html"))?;
        let page = Page {
            title: &self.title,
            lead: self.lead.as_deref(),
            blocks,
            chart_css: chart::style::style_sheet() + &font + &self.style,
            version: env!("CARGO_PKG_VERSION"),
        };
        Ok(environment.get_template("report.html")?.render(Serde(&page))?)
    }

    /// Writes the page atomically, and creates missing folders. A pipe or a device is written to directly.
    ///
    /// # Errors
    /// [`ReportError::Write`], and those of [`render`](Self::render).
    pub fn write(&self, path: impl AsRef<Path>) -> Result<(), ReportError> {
        let (path, page) = (path.as_ref(), self.render()?);
        crate::run_folder::write_page(path, &page).map_err(|source| ReportError::Write { path: path.to_owned(), source })
    }

    fn with(mut self, block: Block) -> Self {
        self.blocks.push(block);
        self
    }
}

/// The colours of a page in daylight, for a drawing that is a file of its own.
const DAYLIGHT: &str = "svg { background: #ffffff; --ink: #1b1e23; --muted: #5b6470; --rule: #dfe3e8; }\n";

/// Draws a chart for a file of its own, as on a wide screen. `None` if no value is finite.
///
/// # Errors
/// [`ReportError::Draw`].
pub fn svg_file(title: &str, chart: &Chart) -> Result<Option<String>, ReportError> {
    let failed = |reason: String| ReportError::Draw { figure: title.to_owned(), reason };
    let drawing = chart.wide_svg(title).map_err(|error| failed(error.to_string()))?;
    let styled = |svg: String| {
        let head = svg.find('>').map_or(0, |end| end + 1);
        format!("{}<style>{DAYLIGHT}{}</style>{}", &svg[..head], chart::style::rules(), &svg[head..])
    };
    Ok(drawing.map(styled))
}

/// The page as the template sees it.
#[derive(Serialize)]
struct Page<'a> {
    title: &'a str,
    lead: Option<&'a str>,
    blocks: Vec<View<'a>>,
    chart_css: String,
    version: &'static str,
}

/// A block as the template sees it.
#[derive(Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum View<'a> {
    Section { text: &'a str },
    Paragraph { text: &'a str },
    Preformatted { text: &'a str },
    KeyValues { pairs: &'a [(String, String)] },
    Table { table: &'a Table },
    Figure { title: &'a str, caption: &'a str, svg: Option<String> },
    Fragment { html: &'a str },
    Card { card: &'a Card, math: Option<String> },
    Index { links: &'a [(String, Tone)] },
}

impl View<'_> {
    /// Returns the block's markup, which may contain formulas.
    fn markup(&self) -> Option<&str> {
        match self {
            Self::Fragment { html } => Some(html),
            Self::Card { math, .. } => math.as_deref(),
            _ => None,
        }
    }
}

fn view<'a>(block: &'a Block, styles: &mut Styles) -> Result<View<'a>, ReportError> {
    Ok(match block {
        Block::Section(text) => View::Section { text },
        Block::Paragraph(text) => View::Paragraph { text },
        Block::Preformatted(text) => View::Preformatted { text },
        Block::KeyValues(pairs) => View::KeyValues { pairs },
        Block::Table(table) => View::Table { table },
        Block::Fragment(html) => View::Fragment { html },
        Block::Card(card) => View::Card { card, math: card.math() },
        Block::Index(links) => View::Index { links },
        Block::Figure { title, caption, chart } => {
            let failed = |reason: String| ReportError::Draw { figure: title.clone(), reason };
            let svg = chart.svg(title, styles).map_err(|error| failed(error.to_string()))?;
            View::Figure { title, caption, svg }
        }
    })
}
