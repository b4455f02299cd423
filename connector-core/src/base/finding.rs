use super::{Advice, Location};
use serde::Serialize;
use std::fmt;

/// Something that keeps a checkpoint from being converted.
///
/// Findings are collected, not thrown: a refusal lists all of them, grouped.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Finding {
    /// What kind of thing is wrong.
    pub kind: FindingKind,
    /// What it is about: grouped keys, a file, a config field.
    pub subject: String,
    /// The keys it is about; empty if it is about something else.
    pub keys: Vec<String>,
    /// What is wrong, in one line.
    pub problem: String,
    /// What was expected and found: lines of their own.
    pub notes: Vec<String>,
    /// What to do.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub advice: Vec<Advice>,
    /// The rule, parameter or connector that speaks, `src/llama.rs:41`.
    pub rule: Option<String>,
}

/// The kinds of findings. The names are stable: documents in JSON have them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum FindingKind {
    /// The files of the checkpoint do not fit together, or one is malformed.
    Files,
    /// A config field is missing, malformed or not understood.
    Config,
    /// A source tensor that no rule uses.
    UnusedTensor,
    /// A parameter whose source is not in the checkpoint.
    MissingSource,
    /// A parameter that no rule produces under this config.
    NoRule,
    /// Two rules produce one tensor.
    Ambiguous,
    /// A shape that does not fit the config or the other sources of its rule.
    Shape,
    /// A type that does not fit the other sources of its rule, or the device.
    Dtype,
    /// Two tensors that must hold the same bytes and do not.
    Unequal,
    /// Numbers of a tensor that go nowhere.
    Lost,
    /// A rule that cannot be carried out: an unknown flag, a missing number.
    Rule,
    /// A framework would compute something else than the model does.
    Framework,
    /// Memory or disk that does not suffice.
    Resource,
    /// Text that a model cannot be trained on.
    Data,
}

impl Finding {
    /// A finding that is not about tensors.
    pub fn new(kind: FindingKind, subject: impl Into<String>, problem: impl Into<String>) -> Self {
        Finding {
            kind,
            subject: subject.into(),
            keys: Vec::new(),
            problem: problem.into(),
            notes: Vec::new(),
            advice: Vec::new(),
            rule: None,
        }
    }

    /// Names the rule that speaks.
    #[must_use]
    pub fn rule(mut self, at: Location) -> Self {
        self.rule = Some(at.to_string());
        self
    }

    /// Adds a line that says what was expected, or found.
    #[must_use]
    pub fn note(mut self, note: impl Into<String>) -> Self {
        self.notes.push(note.into());
        self
    }

    /// Adds what to do.
    #[must_use]
    pub fn advise(mut self, advice: Advice) -> Self {
        self.advice.push(advice);
        self
    }
}

/// The subject and the problem on one line, the notes and the advice below.
impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.subject, self.problem)?;
        if let Some(rule) = &self.rule {
            write!(f, " ({rule})")?;
        }
        for note in &self.notes {
            write!(f, "\n  {note}")?;
        }
        for advice in &self.advice {
            write!(f, "\n  {advice}")?;
        }
        Ok(())
    }
}

/// Everything that keeps a checkpoint from being converted. Nothing was written.
#[derive(Debug)]
#[non_exhaustive]
pub struct Refusal {
    /// What was refused, and by whom: "this checkpoint does not fit the Llama importer".
    pub subject: String,
    /// What is wrong, grouped.
    pub findings: Vec<Finding>,
}

impl Refusal {
    /// A refusal with these findings.
    pub(crate) fn new(findings: Vec<Finding>) -> Self {
        Refusal { subject: String::new(), findings }
    }
}

impl std::error::Error for Refusal {}

/// All findings, numbered.
impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let subject = if self.subject.is_empty() { "refused" } else { &self.subject };
        let (count, s) = (self.findings.len(), if self.findings.len() == 1 { "" } else { "s" });
        write!(f, "{subject} ({count} finding{s}); nothing was written")?;
        for (number, finding) in self.findings.iter().enumerate() {
            write!(f, "\n\n  {}  {}", number + 1, finding.to_string().replace('\n', "\n   "))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_reads_as_its_lines() {
        let finding =
            Finding::new(FindingKind::Config, "config.json", "it is empty").note("a").note("b");
        let finding = finding.advise(Advice::NameIteration);
        let want = "config.json: it is empty\n  a\n  b\n  name one of them";
        assert_eq!(finding.to_string(), want);
    }
}
