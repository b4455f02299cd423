//! How an output is put together, in rows: `8 × (512 rows of q_proj, 128 rows of k_proj, …)`.

use super::text::JOINED;
use crate::plan::{InputView, OutputView, Plan, Work};
use crate::transform::Move;

/// More pieces than this are not told one by one.
const MOST: usize = 6;

/// The layout of output number `output`; `None` if it is a plain copy, a user's function, or not
/// made of whole rows.
pub(super) fn describe(plan: &Plan, output: usize, inputs: &[InputView]) -> Option<String> {
    let target = plan.outputs.get(output)?;
    let step = plan.steps.get(target.step)?;
    let Work::Moves(moves) = &step.work else { return None };
    let number = step.outputs.iter().position(|o| *o == output)?;
    let (rows, row) = match target.shape.as_deref()? {
        [] => return None,
        [rows, row @ ..] => (*rows as u64, row.iter().map(|n| *n as u64).product::<u64>()),
    };
    let mut moves: Vec<Move> = moves.iter().filter(|m| m.target == number).copied().collect();
    moves.sort_by_key(|m| m.to);
    let names: Vec<&str> = inputs.iter().map(|input| short(&input.name)).collect();
    Layout { rows, row, moves, names }.text()
}

/// The layout of the one source that several outputs are cut from, in their rows.
pub(super) fn describe_source(
    plan: &Plan,
    inputs: &[InputView],
    outputs: &[OutputView],
) -> Option<String> {
    let ([input], [first, _, ..]) = (inputs, outputs) else { return None };
    let step = plan.steps.get(plan.outputs.get(first.number)?.step)?;
    let Work::Moves(moves) = &step.work else { return None };
    let shape = &input.shape[usize::from(input.index.is_some()).min(input.shape.len())..];
    let (rows, row) = shape.split_first()?;
    let row = row.iter().map(|n| *n as u64).product::<u64>();
    let mut moves: Vec<Move> = moves.iter().map(|m| m.reversed()).collect();
    moves.sort_by_key(|m| m.to);
    let names: Vec<&str> = outputs.iter().map(|output| short(&output.name)).collect();
    Layout { rows: *rows as u64, row, moves, names }.text()
}

struct Layout<'a> {
    /// Rows of the output, and elements in each.
    rows: u64,
    row: u64,
    moves: Vec<Move>,
    /// What the sources are called in short.
    names: Vec<&'a str>,
}

impl Layout<'_> {
    fn text(&self) -> Option<String> {
        if self.moves.is_empty() || self.moves.len() > MOST || self.row == 0 {
            return None;
        }
        let count = self.moves[0].repeat[0].count;
        let same = self.moves.iter().all(|m| m.repeat[0].count == count && m.repeat[1].count == 1);
        let pieces: Option<Vec<String>> = self.moves.iter().map(|m| self.piece(m)).collect();
        let (true, mut pieces) = (same, pieces?) else { return None };
        if count > 1 {
            let groups = pieces.join(", ");
            return Some(format!("{count}{JOINED}× ({groups})"));
        }
        let moved: u64 = self.moves.iter().map(Move::elements).sum();
        let zeros = self.rows - (moved / self.row).min(self.rows);
        if zeros > 0 {
            pieces.push(format!("{zeros}{JOINED}rows of zeros"));
        }
        (pieces.len() > 1).then(|| pieces.join(", then "))
    }

    fn piece(&self, piece: &Move) -> Option<String> {
        let whole = [piece.len, piece.to].iter().all(|n| n.is_multiple_of(self.row));
        let name = self.names.get(piece.source)?;
        let (rows, s) = (piece.len / self.row, if piece.len == self.row { "" } else { "s" });
        whole.then(|| format!("{rows}{JOINED}row{s} of {name}"))
    }
}

/// The segment of a key that tells it from its neighbours: `q_proj`.
fn short(key: &str) -> &str {
    let mut segments = key.rsplit('.');
    let last = segments.next().unwrap_or(key);
    match (last, segments.next()) {
        ("weight" | "bias", Some(before)) => before,
        _ => last,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(rows: u64, moves: Vec<Move>) -> Option<String> {
        let names = vec!["q", "k", "v"];
        Layout { rows, row: 10, moves, names }.text().map(|text| text.replace(JOINED, " "))
    }

    #[test]
    fn layouts_are_told_in_rows() {
        let run = Move::run;
        for (rows, moves, want) in [
            (4, vec![run(0, 0, 0, 0, 40)], None),
            (5, vec![run(0, 0, 0, 0, 40)], Some("4 rows of q, then 1 rows of zeros")),
            (
                5,
                vec![run(0, 0, 0, 0, 40), run(1, 0, 0, 40, 10)],
                Some("4 rows of q, then 1 row of k"),
            ),
            (
                8,
                vec![
                    run(0, 0, 0, 0, 20).repeated(2, 20, 40),
                    run(1, 0, 0, 20, 10).repeated(2, 10, 40),
                ],
                Some("2 × (2 rows of q, 1 row of k)"),
            ),
            (4, vec![run(0, 0, 0, 0, 4).repeated(10, 1, 4)], None),
            (0, vec![], None),
        ] {
            assert_eq!(text(rows, moves).as_deref(), want);
        }
    }
}
