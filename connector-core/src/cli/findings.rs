//! A refusal, for a reader: every finding numbered, with its notes below.

use super::page::Page;
use crate::plan::Finding;

/// The width of `  1  `.
const INDENT: usize = 5;
/// How far notes stand in behind the number.
const NOTE: usize = 2;
/// How many findings are shown: no one reads more.
const MOST: usize = 40;
/// Between a subject and its problem.
const GAP: usize = 3;

pub(super) fn show(page: &mut Page, findings: &[Finding]) {
    let width = page.width();
    let fits = |subject: usize, finding: &Finding| {
        INDENT + subject + GAP + finding.problem.chars().count() <= width
    };
    let own = |finding: &Finding| finding.subject.chars().count();
    // Problems of tensors stand in a column, which one long key must not push aside.
    let about_keys = findings.iter().filter(|f| !f.keys.is_empty() && fits(own(f), f));
    let column = about_keys.map(own).max().unwrap_or(0);
    for (number, finding) in findings.iter().take(MOST).enumerate() {
        page.gap();
        let number = format!("{:>3}  ", number + 1);
        let aligned = if finding.keys.is_empty() { 0 } else { column };
        let place =
            [aligned, own(finding)].into_iter().find(|&at| at >= own(finding) && fits(at, finding));
        match place {
            Some(at) => {
                let between = " ".repeat(at - own(finding) + GAP);
                page.emphasised(&number, &finding.subject, &(between + &finding.problem));
            }
            None => {
                page.emphasised(&number, &finding.subject, "");
                page.indented(INDENT, &finding.problem);
            }
        }
        show_notes(page, finding);
    }
    if let Some(more) = findings.len().checked_sub(MOST).filter(|&more| more > 0) {
        page.gap();
        page.indented(INDENT, &format!("and {more} more; --json lists all of them"));
    }
}

fn show_notes(page: &mut Page, finding: &Finding) {
    let at = finding.rule.as_ref().map(|at| format!("({at})"));
    let last = finding.notes.len().saturating_sub(1);
    for (number, note) in finding.notes.iter().enumerate() {
        let note = match &at {
            Some(at) if number == last => format!("{note}   {at}"),
            _ => note.clone(),
        };
        page.indented(INDENT + NOTE, &note);
    }
    if let (Some(at), true) = (at, finding.notes.is_empty()) {
        page.indented(INDENT + NOTE, &at);
    }
}
