//! The matrix as text.

use crate::column::{Cell, Cells, Column};
use crate::features::FEATURES;
use crate::support::Kind;

/// Columns of one server that stand side by side.
const COLUMNS: usize = 9;

/// The table, and how many cells fail.
pub(crate) fn draw(columns: &[Column], cells: &[Cells]) -> (String, usize) {
    let mut text = String::new();
    let mut reasons: Vec<&'static str> = Vec::new();
    let (mut works, mut cannot, mut failures) = (0, 0, Vec::new());
    for kind in [Kind::Gearshard, Kind::Gearmand] {
        let of_kind: Vec<(&Column, &Cells)> =
            columns.iter().zip(cells).filter(|(column, _)| column.kind == kind).collect();
        for side_by_side in of_kind.chunks(COLUMNS) {
            let server = if kind == Kind::Gearshard { "on gearshard" } else { "on gearmand" };
            text += &format!("\n{server:44}");
            side_by_side.iter().for_each(|(column, _)| text += &format!("{:>12}", column.name()));
            for feature in FEATURES {
                text += &format!("\n{:44}", feature.what);
                for (column, cells) in side_by_side {
                    let mark = match cells.get(feature.name) {
                        Some(Cell::Works) => {
                            works += 1;
                            "ok".to_owned()
                        }
                        Some(Cell::Cannot(reason)) => {
                            cannot += 1;
                            let at = reasons.iter().position(|known| known == reason);
                            let at = at.unwrap_or_else(|| {
                                reasons.push(reason);
                                reasons.len() - 1
                            });
                            format!("({})", at + 1)
                        }
                        other => {
                            failures.push(format!(
                                "{server}, {}, {}: {other:?}",
                                column.name(),
                                feature.name
                            ));
                            "FAILS".to_owned()
                        }
                    };
                    text += &format!("{mark:>12}");
                }
            }
            text.push('\n');
        }
    }
    reasons.iter().enumerate().for_each(|(at, reason)| text += &format!("\n({}) {reason}", at + 1));
    failures.iter().for_each(|failure| text += &format!("\nFAILS {failure}"));
    text += &format!("\n\n{works} cells work, {cannot} are beyond a peer, {} fail\n", failures.len());
    (text, failures.len())
}
