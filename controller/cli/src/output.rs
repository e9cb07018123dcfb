//! Results on standard output: a table for people, JSON or YAML for programs, ids only with `-q`.

use std::io::{self, Write};

use clap::ValueEnum;
use comfy_table::{ContentArrangement, Table, presets};
use serde::Serialize;

use crate::error::CliError;

/// How results are printed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Table,
    /// One JSON document.
    Json,
    /// One YAML document.
    Yaml,
}

/// The user's choices about output.
#[derive(Clone, Copy, Debug, Default)]
pub struct Style {
    /// Format.
    pub format: Format,
    /// Only names or ids, one a line; no progress.
    pub quiet: bool,
    /// No heading row.
    pub no_headers: bool,
}

/// What a list of `T` looks like as a table.
pub struct Columns<'a, T> {
    /// Headings.
    pub headings: &'a [&'a str],
    /// The cells of one item, as many as there are headings.
    pub row: &'a dyn Fn(&T) -> Vec<String>,
    /// What `-q` prints of one item.
    pub name: &'a dyn Fn(&T) -> String,
}

impl Style {
    /// A list as text, with its line end.
    ///
    /// # Errors
    /// When an item cannot be serialised.
    pub fn list<T: Serialize>(&self, items: &[T], columns: &Columns<'_, T>) -> Result<String, CliError> {
        if self.quiet {
            return Ok(items.iter().map(|item| (columns.name)(item) + "\n").collect());
        }
        match self.format {
            Format::Table => Ok(self.table(columns.headings, items.iter().map(columns.row))),
            Format::Json | Format::Yaml => self.document(&items),
        }
    }

    /// One thing as text: `name: value` lines for people.
    ///
    /// # Errors
    /// When it cannot be serialised.
    pub fn one<T: Serialize>(&self, item: &T, name: &str, lines: &[(&str, String)]) -> Result<String, CliError> {
        if self.quiet {
            return Ok(format!("{name}\n"));
        }
        match self.format {
            Format::Table => {
                let width = lines.iter().map(|(label, _)| label.len()).max().unwrap_or(0) + 1;
                let line = |(label, value): &(&str, String)| {
                    format!("{:<width$} {value}", format!("{label}:")).trim_end().to_owned()
                };
                Ok(lines.iter().map(|entry| line(entry) + "\n").collect())
            }
            Format::Json | Format::Yaml => self.document(item),
        }
    }

    /// A document in the chosen format; JSON where a table was chosen.
    ///
    /// # Errors
    /// When it cannot be serialised.
    pub fn document<T: Serialize>(&self, item: &T) -> Result<String, CliError> {
        match self.format {
            Format::Yaml => serde_yaml::to_string(item).map_err(|e| CliError::step("writing YAML", e)),
            Format::Table | Format::Json => {
                serde_json::to_string_pretty(item).map(|t| t + "\n").map_err(|e| CliError::step("writing JSON", e))
            }
        }
    }

    /// A borderless table: columns two spaces apart, cells never wrapped, as scripts and narrow terminals like it.
    pub fn table(&self, headings: &[&str], rows: impl Iterator<Item = Vec<String>>) -> String {
        let mut table = Table::new();
        table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
        if !self.no_headers {
            table.set_header(headings.iter().copied());
        }
        table.add_rows(rows);
        for column in table.column_iter_mut() {
            column.set_padding((0, 2));
        }
        table.lines().map(|line| line.trim_end().to_owned() + "\n").filter(|line| line != "\n").collect()
    }
}

/// Writes to standard output. A reader that went away is the end, not an error.
///
/// # Errors
/// When it cannot be written for another reason.
pub fn print(text: &str) -> Result<(), CliError> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(e) if e.kind() == io::ErrorKind::BrokenPipe => std::process::exit(0),
        other => other.map_err(CliError::from),
    }
}

/// A value that may be absent, `-` when it is.
pub fn or_dash(value: Option<impl std::fmt::Display>) -> String {
    value.map_or_else(|| "-".to_owned(), |v| v.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Serialize)]
    struct Row {
        name: &'static str,
        cores: u32,
    }

    const ROWS: [Row; 2] = [Row { name: "web", cores: 1 }, Row { name: "database", cores: 12 }];

    fn shown(style: Style) -> String {
        let columns = Columns {
            headings: &["NAME", "CORES"],
            row: &|r: &Row| vec![r.name.to_owned(), r.cores.to_string()],
            name: &|r: &Row| r.name.to_owned(),
        };
        style.list(&ROWS, &columns).unwrap()
    }

    #[test]
    fn lists_look_as_promised_in_every_format() {
        let table = Style::default();
        assert_eq!(shown(table), "NAME      CORES\nweb       1\ndatabase  12\n");
        assert_eq!(shown(Style { no_headers: true, ..table }), "web       1\ndatabase  12\n");
        assert_eq!(shown(Style { quiet: true, ..table }), "web\ndatabase\n");
        assert_eq!(
            shown(Style { format: Format::Yaml, ..table }),
            "- name: web\n  cores: 1\n- name: database\n  cores: 12\n"
        );
        let json: serde_json::Value = serde_json::from_str(&shown(Style { format: Format::Json, ..table })).unwrap();
        assert_eq!(json[1]["cores"], 12);
    }

    #[test]
    fn one_thing_is_aligned_lines() {
        let lines = [("Name", "web".to_owned()), ("Address", "10.0.0.2".to_owned()), ("Reason", String::new())];
        let text = Style::default().one(&ROWS[0], "web", &lines).unwrap();
        assert_eq!(text, "Name:    web\nAddress: 10.0.0.2\nReason:\n");
    }
}
