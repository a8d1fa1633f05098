//! Rows under headings, in columns as wide as their widest cell.

use unicode_width::UnicodeWidthStr;

/// Which end of a column its cells stand at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Left,
    Right,
}

/// What stands above a column.
pub(super) type Heading = (&'static str, Side);

/// The table as text, a line for the headings and one for each row.
pub(super) fn table(headings: &[Heading], rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].width());
        cells.chain([headings[column].0.width()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..headings.len()).map(width).collect();
    let mut text = String::new();
    let titles = headings.iter().map(|(title, _)| (*title).to_owned()).collect();
    for row in std::iter::once(&titles).chain(rows) {
        let start = text.len();
        for ((cell, (_, side)), width) in row.iter().zip(headings).zip(&widths) {
            if text.len() > start {
                text.push_str("  ");
            }
            text.push_str(&aligned(cell, *side, *width));
        }
        text.truncate(text.trim_end_matches(' ').len());
        text.push('\n');
    }
    text
}

/// A cell with the spaces that make it `width` columns wide.
pub(super) fn aligned(cell: &str, side: Side, width: usize) -> String {
    let spaces = " ".repeat(width.saturating_sub(cell.width()));
    match side {
        Side::Left => format!("{cell}{spaces}"),
        Side::Right => format!("{spaces}{cell}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell_on_the_screen() {
        let headings = [("NAME", Side::Left), ("N", Side::Right), ("REST", Side::Left)];
        let rows = [["größer", "1", "x"], ["日本", "1000", ""]].map(|row| row.map(str::to_owned).to_vec());
        assert_eq!(table(&headings, &rows), "NAME       N  REST\ngrößer     1  x\n日本    1000\n");
    }
}
