//! The report's content once, written in three forms: a page, Markdown with figures beside it, and a section of a paper in LaTeX.

use crate::failure::Failure;
use crate::report::chart::Chart;
use crate::report::{Align, Report, ReportError, Table, svg_file};
use crate::run_folder::write_atomically;
use std::path::Path;

/// A piece of the report.
pub enum Item {
    /// A heading.
    Section(String),
    /// A paragraph.
    Paragraph(String),
    /// A table; the first column is text, the others are numbers.
    Table { caption: String, columns: Vec<String>, rows: Vec<Vec<String>> },
    /// A chart with the name of its file.
    Figure { file: &'static str, title: String, caption: String, chart: Chart },
}

/// The report.
pub struct Document {
    /// Its title.
    pub title: String,
    /// What was done, and what came out.
    pub lead: String,
    /// Its parts.
    pub items: Vec<Item>,
}

impl Document {
    /// Returns the page.
    pub fn page(&self) -> Report {
        let add = |page: Report, item: &Item| match item {
            Item::Section(text) => page.section(text),
            Item::Paragraph(text) => page.paragraph(text),
            Item::Table { caption, columns, rows } => {
                let aligned = columns.iter().enumerate().map(|(i, name)| (name, if i == 0 { Align::Left } else { Align::Right }));
                page.table(rows.iter().fold(Table::new(aligned).caption(caption), |table, row| table.row(row)))
            }
            Item::Figure { title, caption, chart, .. } => page.figure(title, caption, chart.clone()),
        };
        self.items.iter().fold(Report::new(&self.title).lead(&self.lead), add)
    }

    /// Writes the report into a folder: `report.html`, `results.md`, `results.tex` and the figures.
    ///
    /// # Errors
    /// [`ReportError::Draw`] and the errors of writing.
    pub fn write(&self, folder: &Path) -> Result<(), Failure> {
        self.page().write(folder.join("report.html"))?;
        let mut files = vec![("results.md".to_owned(), self.markdown()), ("results.tex".to_owned(), self.latex())];
        files.extend(self.figures()?);
        for (file, text) in files {
            let path = folder.join(file);
            write_atomically(&path, text.as_bytes()).map_err(model::Error::io(&path))?;
        }
        Ok(())
    }

    /// Returns the figures: names of files and their contents.
    ///
    /// # Errors
    /// [`ReportError::Draw`].
    pub fn figures(&self) -> Result<Vec<(String, String)>, ReportError> {
        let mut files = Vec::new();
        for item in &self.items {
            if let Item::Figure { file, title, chart, .. } = item {
                files.extend(svg_file(title, chart)?.map(|svg| (format!("{file}.svg"), svg)));
            }
        }
        Ok(files)
    }

    /// Returns the report as Markdown.
    pub fn markdown(&self) -> String {
        let mut text = format!("# {}\n\n{}\n", self.title, self.lead);
        for item in &self.items {
            text += "\n";
            text += &match item {
                Item::Section(heading) => format!("## {heading}\n"),
                Item::Paragraph(paragraph) => format!("{paragraph}\n"),
                Item::Table { caption, columns, rows } => {
                    let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
                    let rule = format!("|---|{}\n", "---:|".repeat(columns.len() - 1));
                    format!("{caption}\n\n{}{rule}{}", line(columns), rows.iter().map(|row| line(row)).collect::<String>())
                }
                Item::Figure { file, title, caption, .. } => format!("![{title}]({file}.svg)\n\n*{title}.* {caption}\n"),
            };
        }
        text
    }

    /// Returns the report as a section in LaTeX, without figures: a paper includes them as it likes.
    pub fn latex(&self) -> String {
        let mut text = format!("\\section{{Results}}\n\n{}\n", latex(&self.lead));
        for item in &self.items {
            text += &match item {
                Item::Section(heading) => format!("\n\\subsection{{{}}}\n", latex(heading)),
                Item::Paragraph(paragraph) => format!("\n{}\n", latex(paragraph)),
                Item::Table { caption, columns, rows } => {
                    let line =
                        |cells: &[String]| format!("{} \\\\\n", cells.iter().map(|cell| latex(cell)).collect::<Vec<_>>().join(" & "));
                    let body: String = rows.iter().map(|row| line(row)).collect();
                    format!(
                        "\n\\begin{{table}}\n\\caption{{{}}}\n\\begin{{tabular}}{{l{}}}\n\\hline\n{}\\hline\n{body}\\hline\n\\end{{tabular}}\n\
                         \\end{{table}}\n",
                        latex(caption),
                        "r".repeat(columns.len() - 1),
                        line(columns)
                    )
                }
                Item::Figure { .. } => String::new(),
            };
        }
        text
    }
}

/// Escapes a text for LaTeX, and writes the signs that the report uses as formulas.
fn latex(text: &str) -> String {
    let mut escaped = String::new();
    for letter in text.chars() {
        match letter {
            '%' | '&' | '#' | '_' | '$' | '{' | '}' => escaped.extend(['\\', letter]),
            'κ' => escaped += "$\\kappa$",
            'π' => escaped += "$\\pi$",
            'α' => escaped += "$\\alpha$",
            'β' => escaped += "$\\beta$",
            'τ' => escaped += "$\\tau$",
            '‖' => escaped += "$\\|$",
            '≥' => escaped += "$\\geq$",
            '−' => escaped += "$-$",
            '±' => escaped += "$\\pm$",
            '×' => escaped += "$\\times$",
            '*' => escaped += "$^*$",
            _ => escaped.push(letter),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::chart::XyChart;

    #[test]
    fn the_three_forms_have_the_same_content() {
        let chart = XyChart::new("x", "y").line("dpo", [(0.0, 1.0), (1.0, 2.0)]).into();
        let items = vec![
            Item::Section("Numbers".to_owned()),
            Item::Paragraph("95 % of κ".to_owned()),
            Item::Table {
                caption: "Rewards".to_owned(),
                columns: vec!["arm".to_owned(), "R".to_owned()],
                rows: vec![vec!["a_b".to_owned(), "−1".to_owned()]],
            },
            Item::Figure { file: "paths", title: "Paths".to_owned(), caption: "Look.".to_owned(), chart },
        ];
        let document = Document { title: "A study".to_owned(), lead: "All of it".to_owned(), items };
        let page = document.page().render().unwrap();
        let markdown = document.markdown();
        for part in ["A study", "All of it", "Numbers", "95 % of κ", "Rewards", "a_b", "Paths", "Look."] {
            assert!(page.contains(part) && markdown.contains(part), "{part}");
        }
        assert!(markdown.contains("| arm | R |\n|---|---:|\n| a_b | −1 |\n") && markdown.contains("![Paths](paths.svg)"));
        let latex = document.latex();
        assert!(latex.contains("95 \\% of $\\kappa$") && latex.contains("a\\_b & $-$1 \\\\"), "{latex}");
        let figures = document.figures().unwrap();
        assert!(figures[0].0 == "paths.svg" && figures[0].1.starts_with("<svg") && figures[0].1.contains("<style>"));
    }
}
