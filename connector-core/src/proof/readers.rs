//! Whether each tensor of the other side has one reader: no `ignore` swallows what a rule reads, no
//! two parameters are one tensor, and the branches of a choice can be told apart.

use super::Proof;
use super::finding::Finding;
use super::flat::{Key, Role};
use super::index::Index;
use super::meet::meet;
use super::message::Message;
use super::producers::Keys;
use super::report::LINE;
use crate::key::{Truth, same};

impl<const N: usize> Proof<'_, N> {
    /// Compares what rows read with each other; `model` says when their targets exist.
    pub(super) const fn examine_readers(&mut self, model: &Keys<N>) {
        let index = Index::new(self.flat, false);
        let mut key = 0;
        while key < self.flat.len {
            let it = &self.flat.keys[key];
            match it.role {
                Role::Ignored => self.swallowed(key, &index, model),
                Role::Source if !is_read(it, key) => self.read_twice(key, &index, model),
                Role::FirstTarget => self.targets_exist_together(key, model),
                _ => {}
            }
            key += 1;
        }
        let mut branch = 1;
        while branch < self.flat.branch_count {
            self.told_apart(branch);
            branch += 1;
        }
    }

    /// An `ignore` row matches nothing that a rule reads.
    const fn swallowed(&mut self, key: usize, index: &Index<N>, model: &Keys<N>) {
        let it = &self.flat.keys[key];
        let Ok(pattern) = &it.pattern else { return };
        let mut candidates = index.candidates(pattern);
        while let Some(by) = index.next(&mut candidates) {
            let other = &self.flat.keys[by];
            if let (Role::Source, Ok(read)) = (other.role, &other.pattern)
                && meet(pattern, read)
                && !self.flags.possible(model.live[other.lead].and(it.when), 0).is_never()
                && !self.flat.are_apart(it.branch, other.branch)
            {
                self.findings.add(Finding::Swallowed { key, by });
                return;
            }
        }
    }

    /// No rule before reads the same tensor wherever this does, or this one wherever that does. Two
    /// that may exclude each other the plan compares, which knows the config.
    const fn read_twice(&mut self, key: usize, index: &Index<N>, model: &Keys<N>) {
        let it = &self.flat.keys[key];
        let Ok(pattern) = &it.pattern else { return };
        let when = model.live[it.lead];
        let mut candidates = index.candidates(pattern);
        while let Some(first) = index.next(&mut candidates) {
            let other = &self.flat.keys[first];
            if let (true, Ok(read)) = (first < it.lead && other.lead != it.lead, &other.pattern)
                && matches!(other.role, Role::Source)
                && !is_read(other, first)
                && meet(pattern, read)
            {
                let others = model.live[other.lead];
                let nested = when.implies(others) || others.implies(when);
                if nested
                    && !self.flags.possible(when.and(others), 0).is_never()
                    && !self.flat.are_apart(it.branch, other.branch)
                    && !self.findings.are_doubled(self.flat, it.lead, other.lead)
                {
                    self.findings.add(Finding::ReadTwice { key, first });
                    return;
                }
            }
        }
    }

    /// What one rule makes exists together.
    const fn targets_exist_together(&mut self, key: usize, model: &Keys<N>) {
        let when = self.flat.keys[key].when;
        let exists = model.exists[key].and(when);
        let mut other = key + 1;
        while other < self.flat.len && matches!(self.flat.keys[other].role, Role::Target) {
            let others = model.exists[other].and(when);
            let known = !model.exists[key].is_never() && !model.exists[other].is_never();
            let apart = exists.and(others.not()).or(others.and(exists.not()));
            if known && !self.flags.possible(apart, 0).is_never() {
                self.findings.add(Finding::Unequal { key, other, when: exists, others });
                return;
            }
            other += 1;
        }
    }

    /// A branch reads a key that another of its choice does not, or the other way round.
    const fn told_apart(&mut self, branch: usize) {
        let mut first = branch - 1;
        while first > 0 {
            let choice = self.flat.branches[first].choice;
            if choice == self.flat.branches[branch].choice
                && let Some(key) = self.reads_all(branch, first)
                && self.reads_all(first, branch).is_some()
            {
                self.findings.add(Finding::Alike { key, first, second: branch });
                return;
            }
            first -= 1;
        }
    }

    /// The first key that a branch reads, if another reads all that it does.
    const fn reads_all(&self, branch: usize, by: usize) -> Option<usize> {
        let (mut found, mut key) = (None, 0);
        while key < self.flat.len {
            let it = &self.flat.keys[key];
            if matches!(it.role, Role::Source) && self.flat.lies_in(it.branch, branch) {
                let (mut has, mut other) = (false, 0);
                while other < self.flat.len && !has {
                    let beside = &self.flat.keys[other];
                    if let (Role::Source, Ok(a), Ok(b)) =
                        (beside.role, &it.pattern, &beside.pattern)
                        && self.flat.lies_in(beside.branch, by)
                    {
                        has = meet(a, b);
                    }
                    other += 1;
                }
                if !has {
                    return None;
                }
                if found.is_none() {
                    found = Some(key);
                }
            }
            key += 1;
        }
        found
    }

    pub(super) const fn swallow(&self, text: Message, key: usize, by: usize) -> Message {
        let (it, other) = (&self.flat.keys[key], &self.flat.keys[by]);
        let (Ok(pattern), Ok(read)) = (&it.pattern, &other.pattern) else { return text };
        let text = text.text("`ignore \"").pattern(pattern).text("\"` matches `").pattern(read);
        text.text("`, which the row at ")
            .place(other.at)
            .text(" reads")
            .text(LINE)
            .text("where that row finds no parameter for a tensor, this would drop it without a word")
            .text(LINE)
            .text("name what is left behind, or add the `when` under which the other row does not apply")
    }

    pub(super) const fn twice(&self, text: Message, key: usize, first: usize) -> Message {
        let (it, other) = (&self.flat.keys[key], &self.flat.keys[first]);
        let (Ok(pattern), Ok(read)) = (&it.pattern, &other.pattern) else { return text };
        let text = text.text("`").pattern(pattern).text("` is read twice, for `");
        let text = self.first_target(text, key).text("` here and for `");
        let text = self.first_target(text, first).text("` at ").place(other.at).text(LINE);
        let text = match same(
            Message::EMPTY.pattern(pattern).as_str(),
            Message::EMPTY.pattern(read).as_str(),
        ) {
            true => text,
            false => text.text("the other row calls it `").pattern(read).text("`").text(LINE),
        };
        text.text("correct the key; if the two are copies, say so with one row that makes both, ")
            .text("`via ops::duplicate2`; if never both exist, tell them apart with `when`")
    }

    const fn first_target(&self, text: Message, key: usize) -> Message {
        match &self.flat.keys[self.flat.keys[key].lead].pattern {
            Ok(target) => text.pattern(target),
            Err(_) => text,
        }
    }

    pub(super) const fn unequal(
        &self,
        text: Message,
        (key, other): (usize, usize),
        when: Truth,
        others: Truth,
    ) -> Message {
        let names = self.flags.names();
        let (Ok(one), Ok(two)) = (&self.flat.keys[key].pattern, &self.flat.keys[other].pattern)
        else {
            return text;
        };
        let text = text.text("this row makes `").pattern(one).text("`, which exists ");
        let text = exists(text, when, names).text(", and `").pattern(two);
        let text = exists(text.text("`, which exists "), others, names).text(LINE);
        text.text(
            "what one row makes exists together: correct the conditions, or make two rows of it",
        )
    }

    pub(super) const fn alike(&self, text: Message, first: usize, second: usize) -> Message {
        let [first, second] = [&self.flat.branches[first], &self.flat.branches[second]];
        let text = text.text("the branches `").text(first.name).text("` and `").text(second.name);
        let text = text.text("` of the `one_of` at ").place(first.at).text(" read the same keys");
        text.text(LINE).text(
            "the keys of a checkpoint decide which branch is taken: write rows with `when` in its place, \
             or drop one branch",
        )
    }
}

const fn exists(text: Message, when: Truth, names: &[&str]) -> Message {
    match Truth::ALWAYS.implies(when) {
        true => text.text("always"),
        false => text.text("where `").condition(when, names).text("`"),
    }
}

/// Whether a key is one that a function asks its context for.
const fn is_read(key: &Key, number: usize) -> bool {
    match key.rule {
        Some(rule) => number - key.lead >= rule.targets.len() + rule.sources.len(),
        None => false,
    }
}
