//! A table of text and numbers that are already written out.

use serde::Serialize;

/// Alignment of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Align {
    /// Text.
    Left,
    /// Numbers, in digits of equal width, so that a column can be compared.
    Right,
}

#[derive(Debug, Clone, Serialize)]
struct Cell {
    text: String,
    highlighted: bool,
}

#[derive(Debug, Clone, Serialize)]
struct Column {
    heading: String,
    align: Align,
}

/// A table; see [`Report::table`](super::Report::table).
#[derive(Debug, Clone, Serialize)]
pub struct Table {
    caption: Option<String>,
    columns: Vec<Column>,
    rows: Vec<Vec<Cell>>,
}

impl Table {
    /// Creates a table without rows, with one heading and alignment for each column.
    pub fn new<H: Into<String>>(columns: impl IntoIterator<Item = (H, Align)>) -> Self {
        let column = |(heading, align): (H, Align)| Column { heading: heading.into(), align };
        Self { caption: None, columns: columns.into_iter().map(column).collect(), rows: Vec::new() }
    }

    /// Sets the text above the table.
    #[must_use]
    pub fn caption(mut self, text: impl Into<String>) -> Self {
        self.caption = Some(text.into());
        self
    }

    /// Adds a row.
    ///
    /// # Panics
    /// If the number of cells is not the number of columns.
    #[must_use]
    #[track_caller]
    pub fn row<C: Into<String>>(mut self, cells: impl IntoIterator<Item = C>) -> Self {
        let cell = |text: C| Cell { text: text.into(), highlighted: false };
        let cells: Vec<Cell> = cells.into_iter().map(cell).collect();
        let (found, expected) = (cells.len(), self.columns.len());
        assert_eq!(found, expected, "a row of {found} cells in a table of {expected} columns");
        self.rows.push(cells);
        self
    }

    /// Marks a cell of the last row, for example the best of its column. Columns count from 0.
    ///
    /// # Panics
    /// If there is no such cell.
    #[must_use]
    #[track_caller]
    pub fn highlight(mut self, column: usize) -> Self {
        match self.rows.last_mut().and_then(|row| row.get_mut(column)) {
            Some(cell) => cell.highlighted = true,
            None => panic!("no cell to highlight in column {column}"),
        }
        self
    }
}
