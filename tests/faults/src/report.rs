//! What came out, as a table and a list.

use crate::inject::Fault;
use crate::scene::Key;
use std::fmt::Write;

/// What came out of one case.
#[derive(Default)]
pub struct Tally {
    /// Its name.
    pub case: &'static str,
    /// The calls that its command makes.
    pub calls: usize,
    /// The faults that were made.
    pub faults: usize,
    /// The kills.
    pub kills: usize,
    /// The faults whose call did not come.
    pub missed: usize,
    /// What did not hold.
    pub violations: Vec<Violation>,
}

/// Something that did not hold.
pub struct Violation {
    /// After which fault at which call, of which number; `None` if nothing went wrong.
    pub at: Option<(usize, Key, Fault)>,
    /// What did not hold.
    pub wrong: Vec<String>,
}

/// The names of the columns.
pub fn head() -> String {
    row("case", ["calls", "faults", "kills", "missed", "failed"])
}

impl Tally {
    /// Its row of the table.
    pub fn row(&self) -> String {
        let numbers = [self.calls, self.faults, self.kills, self.missed, self.violations.len()];
        row(self.case, numbers.map(|number| number.to_string()))
    }
}

fn row(name: &str, columns: [impl std::fmt::Display; 5]) -> String {
    columns.into_iter().fold(format!("{name:26}"), |row, column| format!("{row}{column:>8}"))
}

/// Everything that did not hold, each with the command that repeats it; and the closing line.
pub fn closing(tallies: &[Tally]) -> String {
    let mut text = String::new();
    for tally in tallies {
        for violation in &tally.violations {
            let _ = writeln!(text, "{}", violation.show(tally.case));
        }
    }
    let sum = |of: fn(&Tally) -> usize| tallies.iter().map(of).sum::<usize>();
    let [faults, kills, missed, failed] =
        [sum(|t| t.faults), sum(|t| t.kills), sum(|t| t.missed), sum(|t| t.violations.len())];
    let passed = (faults + kills).saturating_sub(failed);
    let _ = writeln!(text, "{faults} faults, {kills} kills; {missed} calls did not come");
    let _ = write!(text, "{passed} passed, {failed} failed");
    text
}

impl Violation {
    /// What it is, in some lines, of which the last repeats it.
    pub fn show(&self, case: &str) -> String {
        let (title, arguments) = match &self.at {
            Some((call, key, fault)) => (
                format!("{} {} ({}): {fault}", key.name, key.paths.join(" → "), key.nth + 1),
                format!("--case {case} --call {call} --fault {fault}"),
            ),
            None => ("undisturbed".into(), format!("--case {case}")),
        };
        let wrong: String = self.wrong.iter().map(|what| format!("    {what}\n")).collect();
        format!("{case}: {title}\n{wrong}    cargo run -p connector-faults -- {arguments}\n")
    }
}
