use super::parse::{BlockRow, Entry, Extent, RuleRow};
use crate::core_path::{self, spanned};
use proc_macro2::{Delimiter, Group, Span, TokenStream, TokenTree};

/// Where a row of a mapping stands: what the compiler finds wrong with it is reported there.
pub struct Place {
    /// What stands for the row in its `Location`.
    pub at: Span,
    /// Where the row begins and ends.
    pub from: Span,
    pub to: Span,
}

impl Place {
    fn at(span: Span) -> Self {
        Place { at: span, from: span, to: span }
    }

    fn of(at: Span, extent: &Extent) -> Self {
        Place { at, from: extent.from, to: extent.to }
    }

    /// A call with the place of the row: the compiler points from its function's path to the end
    /// of its arguments.
    pub fn call(&self, function: TokenStream, arguments: TokenStream) -> TokenStream {
        let mut arguments = Group::new(Delimiter::Parenthesis, spanned(self.to, arguments));
        arguments.set_span(self.to);
        let mut call = spanned(self.from, function);
        call.extend([TokenTree::Group(arguments)]);
        call
    }
}

/// The places of all rows, those inside of blocks too.
pub fn places(entries: &[Entry], out: &mut Vec<Place>) {
    for entry in entries {
        match entry {
            Entry::Rule(RuleRow { sources, extent, .. }) => {
                out.push(Place::of(sources[0].span(), extent));
            }
            Entry::Block(BlockRow { source, rows, extent, .. }) => {
                out.push(Place::of(source.span(), extent));
                places(rows, out);
            }
            Entry::Include(path) | Entry::Rules(path) => out.push(Place::at(core_path::span(path))),
            Entry::OneOf(_, branches) => {
                for branch in branches {
                    places(&branch.rows, out);
                }
            }
            Entry::Equal(row) => out.push(Place::of(row.left.span(), &row.extent)),
            Entry::Cfg(_, entry) => places(std::slice::from_ref(entry), out),
            Entry::Ignore { pattern, extent, .. } => out.push(Place::of(pattern.span(), extent)),
        }
    }
}
