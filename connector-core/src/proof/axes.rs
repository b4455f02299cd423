//! Whether the indices of a row mean what the schemas say: their names, their order, their offsets,
//! and that a flag of each layer is asked where there is a layer.

use super::finding::Finding;
use super::fit::{Place, Symbol, next};
use super::flat::Role;
use super::meet::same_offset;
use super::message::Message;
use super::producers::{Keys, NOTHING};
use super::report::LINE;
use super::{Proof, Side};
use crate::key::{MAX_PARTS, Offset, Part, Pattern, Truth, same};
use crate::mapping::Fold;
use crate::schema::Schema;

/// The captures of a pattern, in order.
#[derive(Clone, Copy)]
struct Captured {
    parts: [Part<'static>; MAX_PARTS],
    /// Where in the pattern each stands.
    at: [usize; MAX_PARTS],
    len: usize,
}

impl Captured {
    const fn of(pattern: &Pattern<'static>) -> Self {
        let mut found = Captured { parts: [Part::Any; MAX_PARTS], at: [0; MAX_PARTS], len: 0 };
        let mut i = 0;
        while let Some(part) = pattern.part(i) {
            if part.is_capture() && !matches!(part, Part::Field { .. }) {
                found.parts[found.len] = part;
                found.at[found.len] = i;
                found.len += 1;
            }
            i += 1;
        }
        found
    }

    const fn name(&self, number: usize) -> &'static str {
        match self.parts[number].name() {
            Some(name) => name,
            None => "",
        }
    }

    const fn has(&self, axis: &str) -> bool {
        let mut i = 0;
        while i < self.len {
            if same(self.name(i), axis) {
                return true;
            }
            i += 1;
        }
        false
    }

    const fn are_named(&self) -> bool {
        self.len > 0 && !self.name(0).is_empty()
    }
}

impl<const N: usize> Proof<'_, N> {
    /// Looks at the captures of every key; `model` and `format` say which parameters the keys of each
    /// side are.
    pub(super) const fn examine_axes(&mut self, model: &Keys<N>, format: Option<&Keys<N>>) {
        let mut number = 0;
        while number < self.flat.len {
            let key = &self.flat.keys[number];
            if let Ok(pattern) = &key.pattern {
                let side = if key.role.is_target() { Side::Model } else { Side::Format };
                let parameter = match (side, format) {
                    (Side::Model, _) => model.parameter[number],
                    (Side::Format, Some(format)) => format.parameter[number],
                    (Side::Format, None) => NOTHING,
                };
                let captured = Captured::of(pattern);
                let name = match parameter {
                    NOTHING => Captured::of(&Pattern::EMPTY),
                    known => Captured::of(&self.schema(side).parameters[known].pattern),
                };
                if !matches!(key.role, Role::Block | Role::Source | Role::Equal) {
                    self.flags_have_their_axes(number, &captured, &name);
                }
                if captured.len > 0 {
                    if parameter != NOTHING {
                        self.names_agree(side, number, parameter, &captured);
                    }
                    if key.rule.is_some() {
                        self.order_is_known(number, &captured, &name, model, format);
                        self.offsets_continue(number, pattern, &captured, &name);
                    }
                }
            }
            number += 1;
        }
    }

    /// A flag that has a value for each layer is asked at the layer that the key captures.
    const fn flags_have_their_axes(&mut self, key: usize, captured: &Captured, name: &Captured) {
        let it = &self.flat.keys[key];
        if Truth::ALWAYS.implies(it.when) {
            return;
        }
        let asked = it.when.flags();
        let (mut flag, names) = (0, self.flags.names());
        while flag < names.len() {
            let axis = match self.axis_of_flag(names[flag]) {
                Some(axis) if asked >> flag & 1 == 1 => axis,
                _ => "",
            };
            if !axis.is_empty() && !captured.has(axis) && !name.has(axis) {
                self.findings.add(Finding::NoLayer { key, flag: names[flag], axis });
                return;
            }
            flag += 1;
        }
    }

    const fn axis_of_flag(&self, flag: &str) -> Option<&'static str> {
        match (depends(&self.model, flag, true), &self.format) {
            (None, Some(_)) => depends(&self.format, flag, true),
            (found, _) => found,
        }
    }

    /// What a key captures is called as the axes of the parameter.
    const fn names_agree(&mut self, side: Side, key: usize, parameter: usize, captured: &Captured) {
        if !captured.are_named() {
            return;
        }
        let parameter = &self.schema(side).parameters[parameter];
        let wrong = misnamed(captured, &parameter.pattern);
        let (mut right, mut spelling) = (wrong.is_none(), 0);
        while spelling < parameter.aka.len() && !right {
            right = misnamed(captured, &parameter.aka[spelling]).is_none();
            spelling += 1;
        }
        if let (false, Some((name, axis))) = (right, wrong) {
            self.findings.add(Finding::Misnamed { side, key, name, axis });
        }
    }

    /// Which index of a source is which of the target: by the names in the schema of the other side,
    /// or else because they come in one order, a folded one last.
    const fn order_is_known(
        &mut self,
        key: usize,
        captured: &Captured,
        name: &Captured,
        model: &Keys<N>,
        format: Option<&Keys<N>>,
    ) {
        let it = &self.flat.keys[key];
        let lead = it.lead;
        let (Role::Source, Some(rule), Ok(target)) =
            (it.role, it.rule, &self.flat.keys[lead].pattern)
        else {
            return;
        };
        let target = Captured::of(target);
        let axes = match model.parameter[lead] {
            NOTHING => return,
            known => Captured::of(&self.schema(Side::Model).parameters[known].pattern),
        };
        // Where a target's names are wrong, their order is.
        let named = self.findings.are_misnamed(lead, lead + rule.targets.len());
        let read = key - lead >= rule.targets.len() + rule.sources.len();
        let (short, long) =
            if captured.len < target.len { (captured, &target) } else { (&target, captured) };
        if long.len < 2 || read || named || matches!(rule.fold, Fold::Repeat(_)) {
            return;
        }
        let mut i = 0;
        if captured.are_named() {
            while i < short.len && format.is_none() {
                if !same(short.name(i), long.name(i)) {
                    self.findings.add(Finding::Crossed { key });
                    return;
                }
                i += 1;
            }
            return;
        }
        // `*` binds by position.
        let known = axes.len == target.len && name.len == captured.len && format.is_some();
        while i < axes.len && i < target.len {
            if !same(axes.name(i), axes.name(0)) && !known
                || known && i < name.len && !same(axes.name(i), name.name(i))
            {
                self.findings.add(Finding::Stars { key, parameter: model.parameter[lead] });
                return;
            }
            i += 1;
        }
    }

    /// An index that counts from somewhere goes on where another row's ends, and one axis has one
    /// offset behind the same words.
    const fn offsets_continue(
        &mut self,
        key: usize,
        pattern: &Pattern<'static>,
        captured: &Captured,
        name: &Captured,
    ) {
        let mut i = 0;
        while i < captured.len {
            let (at, number) = (captured.at[i], i);
            i += 1;
            // Multiples are not shifted by a slip, and where an index begins that a row shows less of,
            // its condition says.
            let Part::Index {
                name: axis,
                offset: offset @ (Offset::Constant(_) | Offset::Field(_)),
                scale: 1,
            } = captured.parts[number]
            else {
                continue;
            };
            if let (true, Part::Index { offset: own, .. }) =
                (name.len == captured.len, name.parts[number])
                && same_offset(own, offset)
            {
                continue;
            }
            // A field of each index may lead anywhere.
            if let Offset::Field(field) = offset
                && depends(&self.model, field, false).is_some()
            {
                continue;
            }
            let (mut begun, mut other) = (false, 0);
            while other < self.flat.len {
                let it = &self.flat.keys[other];
                let role = self.flat.keys[key].role;
                let beside = it.role.is_target() == role.is_target() && it.rule.is_some();
                if let (true, Ok(found)) = (beside, &it.pattern) {
                    match behind(found, pattern, at) {
                        Behind::Index { name, offset: others } if same(name, axis) => {
                            let first = match others {
                                Offset::Minus(_) => false,
                                Offset::None => true,
                                _ => other < key,
                            };
                            if first && !same_offset(others, offset) {
                                self.misplaced(Finding::TwoOffsets { key, part: at, other });
                                return;
                            }
                        }
                        Behind::Index { offset: Offset::None, .. } | Behind::Zero => begun = true,
                        _ => {}
                    }
                }
                other += 1;
            }
            if !begun {
                self.misplaced(Finding::Shifted { key, part: at });
                return;
            }
        }
    }

    /// Adds what is wrong with an offset, unless the prefix of a block has it and a row before says so.
    const fn misplaced(&mut self, finding: Finding) {
        let (Finding::Shifted { key, part } | Finding::TwoOffsets { key, part, .. }) = finding
        else {
            return;
        };
        let it = &self.flat.keys[key];
        let mut i = 0;
        while i < self.findings.all().len() {
            if let Finding::Shifted { key: said, .. } | Finding::TwoOffsets { key: said, .. } =
                self.findings.all()[i]
                && let (Ok(found), Ok(pattern)) = (&self.flat.keys[said].pattern, &it.pattern)
                && self.flat.keys[said].role.is_target() == it.role.is_target()
                && let (
                    Behind::Index { name, offset },
                    Some(Part::Index { name: axis, offset: own, .. }),
                ) = (behind(found, pattern, part), pattern.part(part))
                && same(name, axis)
                && same_offset(offset, own)
            {
                return;
            }
            i += 1;
        }
        self.findings.add(finding);
    }

    pub(super) const fn no_layer(&self, text: Message, flag: &str, axis: &str) -> Message {
        let text = text.text("`").text(flag).text("` has a value for each `").text(axis);
        text.text("`, and this row has no `{")
            .text(axis)
            .text("}` at which to ask for it")
            .text(LINE)
            .text("write the index as `{")
            .text(axis)
            .text("}`, or ask for a flag that does not depend on it")
    }

    pub(super) const fn misnamed(
        &self,
        text: Message,
        key: usize,
        side: Side,
        name: &str,
        axis: &str,
    ) -> Message {
        let Ok(pattern) = &self.flat.keys[key].pattern else { return text };
        let text = text.text("`").pattern(pattern).text("` has `{").text(name).text("}` where ");
        let text = text.text("`").text(self.schema(side).model).text("` has ");
        if axis.is_empty() {
            return text.text("no such axis").text(LINE).text("name each index as the schema does");
        }
        let text = text.text("the axis `").text(axis).text("`").text(LINE);
        text.text("write `{").text(axis).text("}` there, and on both sides for the same index")
    }

    pub(super) const fn crossed(&self, text: Message, key: usize) -> Message {
        let it = &self.flat.keys[key];
        let (Ok(source), Ok(target)) = (&it.pattern, &self.flat.keys[it.lead].pattern) else {
            return text;
        };
        let text = text.text("`").pattern(source).text("` and `").pattern(target);
        let text = text.text("` have their indices in different orders").text(LINE);
        let folds = match it.rule {
            Some(rule) => !matches!(rule.fold, Fold::None),
            None => false,
        };
        let text = match folds {
            true => text.text("an index that is folded comes last; "),
            false => text,
        };
        text.text("correct the names; if the order is meant, declare the other side's keys with ")
            .text("`source_schema`, which says what each index is")
    }

    pub(super) const fn stars(&self, text: Message, parameter: usize) -> Message {
        let name = &self.schema(Side::Model).parameters[parameter].pattern;
        text.text(
            "`*` binds by position, and nothing says that the indices of the source come as in `",
        )
        .pattern(name)
        .text("`")
        .text(LINE)
        .text("write their names on both sides, as there")
    }

    pub(super) const fn shifted(&self, text: Message, key: usize, part: usize) -> Message {
        let it = &self.flat.keys[key];
        let Ok(pattern) = &it.pattern else { return text };
        let verb = if it.role.is_target() { "makes" } else { "takes" };
        let text = text.text("no row ").text(verb).text(" `").pattern_with_zero(pattern, part);
        text.text("`: is the index of `")
            .pattern(pattern)
            .text("` shifted?")
            .text(LINE)
            .text("drop the offset, or add the row that has the index 0")
    }

    pub(super) const fn two_offsets(&self, text: Message, key: usize, other: usize) -> Message {
        let (it, other) = (&self.flat.keys[key], &self.flat.keys[other]);
        let (Ok(one), Ok(two)) = (&it.pattern, &other.pattern) else { return text };
        let text = text.text("`").pattern(one).text("` and `").pattern(two);
        let text = text.text("` count one axis from two places").text(LINE);
        let text = text.text("the other row is at ").place(other.at).text(LINE);
        text.text("give both the same offset")
    }
}

/// A name that a key captures where a parameter has another axis, and which.
const fn misnamed(
    captured: &Captured,
    parameter: &Pattern<'static>,
) -> Option<(&'static str, &'static str)> {
    let (name, mut i) = (Captured::of(parameter), 0);
    while i < captured.len {
        let own = captured.name(i);
        let axis = match captured.len == name.len {
            true => name.name(i),
            // Of an index that the row writes out nothing is known.
            false if name.has(own) => own,
            false => "",
        };
        if !same(own, axis) {
            return Some((own, axis));
        }
        i += 1;
    }
    None
}

/// The axis on which a flag or a field of a schema depends.
const fn depends(schema: &Option<Schema>, name: &str, is_flag: bool) -> Option<&'static str> {
    let Some(schema) = schema else { return None };
    let mut i = 0;
    while i < schema.depends.len() {
        let it = &schema.depends[i];
        if it.is_flag == is_flag && same(it.name, name) {
            return Some(it.axis);
        }
        i += 1;
    }
    None
}

/// What stands in a pattern behind the words that another has before a part.
enum Behind {
    /// Other words, or no index.
    Other,
    Zero,
    Index {
        name: &'static str,
        offset: Offset<'static>,
    },
}

const fn behind(found: &Pattern<'static>, pattern: &Pattern<'static>, part: usize) -> Behind {
    let start = Place { part: 0, byte: 0 };
    let (mut at, mut other) = (start, start);
    loop {
        let (want, after) = next(pattern, at);
        let (have, behind) = next(found, other);
        if let (Symbol::Capture(_), true) = (want, after.part == part + 1) {
            return match have {
                Symbol::Byte(b'0') => Behind::Zero,
                Symbol::Capture(Part::Index { name, offset, scale: 1 }) => {
                    Behind::Index { name, offset }
                }
                _ => Behind::Other,
            };
        }
        match (want, have) {
            (Symbol::Byte(a), Symbol::Byte(b)) if a == b => {}
            (Symbol::Capture(_), Symbol::Capture(_)) => {}
            _ => return Behind::Other,
        }
        (at, other) = (after, behind);
    }
}
