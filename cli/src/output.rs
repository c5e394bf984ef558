//! Printing: tables for people, JSON for programs.

use std::io::{self, Write};

use serde::Serialize;

use crate::exit::{CliError, CliResult};

/// What results are printed as.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// For people.
    #[default]
    Text,
    /// One JSON object; its keys are documented in docs/cli.md.
    Json,
}

/// Prints a result: `text` renders it for people, its `Serialize` for programs.
pub(crate) fn print<T: Serialize>(format: Format, value: &T, text: impl FnOnce(&T) -> String) -> CliResult {
    let rendered = match format {
        Format::Text => text(value),
        Format::Json => json(value)? + "\n",
    };
    write_out(&rendered)
}

/// Writes to standard output. A reader that has gone away has seen what it wanted.
pub(crate) fn write_out(text: &str) -> CliResult {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

/// Writes a line to standard error; progress and summaries go there.
pub(crate) fn note(line: &str) {
    // Nothing is left to do about a standard error that is closed.
    let _ = writeln!(io::stderr().lock(), "{line}");
}

pub(crate) fn json<T: Serialize>(value: &T) -> CliResult<String> {
    serde_json::to_string(value).map_err(|error| CliError::failed(format!("cannot write JSON: {error}")))
}

/// A table with a header line; numbers (cells that begin with a digit or a sign) are aligned to the right.
pub(crate) fn table(header: &[&str], rows: &[Vec<String>]) -> String {
    let columns = header.len();
    let mut widths: Vec<usize> = header.iter().map(|cell| cell.chars().count()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let is_number: Vec<bool> = (0..columns)
        .map(|column| {
            let mut cells = rows.iter().filter_map(|row| row.get(column)).peekable();
            cells.peek().is_some()
                && cells.all(|cell| cell.starts_with(|c: char| c.is_ascii_digit() || c == '-'))
        })
        .collect();
    let mut text = String::new();
    let header: Vec<String> = header.iter().map(|cell| (*cell).to_owned()).collect();
    for row in std::iter::once(&header).chain(rows) {
        let mut line = String::new();
        for (column, cell) in row.iter().enumerate() {
            let padding = " ".repeat(widths[column].saturating_sub(cell.chars().count()));
            let (before, after) =
                if is_number[column] { (padding, String::new()) } else { (String::new(), padding) };
            line.push_str(&before);
            line.push_str(cell);
            line.push_str(&after);
            line.push_str("  ");
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// 12345678 as 12,345,678.
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// Bytes with a decimal unit: 1,500,000 as 1.5 MB.
pub(crate) fn bytes(number: u64) -> String {
    let mut value = number as f64;
    for unit in ["B", "kB", "MB", "GB"] {
        if value < 999.5 {
            return if unit == "B" { format!("{number} B") } else { format!("{value:.1} {unit}") };
        }
        value /= 1_000.0;
    }
    format!("{value:.1} TB")
}

/// Microseconds, or milliseconds from 1,000 on.
pub(crate) fn latency(us: f64) -> String {
    if us < 1_000.0 { format!("{us:.0} µs") } else { format!("{:.2} ms", us / 1_000.0) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_and_sizes_read_well() {
        assert_eq!(count(0), "0");
        assert_eq!(count(999), "999");
        assert_eq!(count(1_234_567), "1,234,567");
        assert_eq!(bytes(999), "999 B");
        assert_eq!(bytes(1_500_000), "1.5 MB");
        assert_eq!(latency(12.4), "12 µs");
        assert_eq!(latency(1_234.0), "1.23 ms");
    }

    #[test]
    fn tables_align_numbers_to_the_right_and_words_to_the_left() {
        let rows = vec![vec!["a".to_owned(), "1".to_owned()], vec!["bcd".to_owned(), "100".to_owned()]];
        assert_eq!(table(&["name", "n"], &rows), "name    n\na       1\nbcd   100\n");
    }
}
