use super::fold::FoldScope;
use super::parse::{BlockRow, Branch, Entry, EqualRow, RuleRow, Via};
use crate::args::count;
use crate::captures::{Place, captured, covers, disagreement};
use crate::condition::Condition;
use crate::core_path;
use crate::errors::Errors;
use crate::operation::{self, Said};
use crate::pattern::{Chosen, Key, combinations, distinct, expand_all, keys};
use crate::role::Words;
use proc_macro2::{Ident, TokenStream};
use quote::{format_ident, quote};
use syn::ext::IdentExt;
use syn::{Attribute, LitStr, Path};

/// Turns rows as they are written into rows of the core.
pub struct Expansion<'a> {
    private: &'a TokenStream,
    errors: &'a Errors,
    /// Free constants, beside the rows, in which the compiler looks up and checks operations.
    pub checks: TokenStream,
    operations: usize,
}

/// What the rows inside a block inherit.
#[derive(Clone, Default)]
struct Scope {
    chosen: Vec<Chosen>,
    folds: FoldScope,
}
impl<'a> Expansion<'a> {
    pub fn new(private: &'a TokenStream, errors: &'a Errors) -> Self {
        Expansion { private, errors, checks: TokenStream::new(), operations: 0 }
    }

    /// Rows of the core.
    pub fn rows(&mut self, entries: &[Entry]) -> Vec<TokenStream> {
        self.inside(entries, &Scope::default())
    }

    fn inside(&mut self, entries: &[Entry], scope: &Scope) -> Vec<TokenStream> {
        let mut rows = Vec::new();
        for entry in entries {
            self.entry(entry, scope, &mut rows);
        }
        rows
    }

    fn entry(&mut self, entry: &Entry, scope: &Scope, rows: &mut Vec<TokenStream>) {
        let private = self.private;
        match entry {
            Entry::Rule(rule) => self.rule(rule, scope, rows),
            Entry::Block(block) => self.block(block, scope, rows),
            Entry::Include(path) => {
                let at = core_path::location(private, core_path::span(path));
                rows.push(quote! {
                    #private::Row::Include(#private::Include { mapping: #path, at: #at })
                });
            }
            Entry::Rules(path) => {
                let at = core_path::location(private, core_path::span(path));
                let (value, number) =
                    self.ask(path, |ty| quote!(<#ty as #private::StateTransform>::RULES));
                let rules = format_ident!("__CONNECTOR_RULES_{number}");
                self.checks.extend(quote!(const #rules: &[#private::Rule] = #value;));
                rows.push(quote! {
                    #private::Row::Rules(#private::Rules { rules: #rules, at: #at })
                });
            }
            Entry::OneOf(span, branches) => {
                let at = core_path::location(private, *span);
                let branches = branches.iter().map(|Branch { name, rows }| {
                    let name = name.to_string();
                    let rows = self.inside(rows, scope);
                    quote!(#private::Branch { name: #name, rows: &[#(#rows),*] })
                });
                let branches: Vec<_> = branches.collect();
                rows.push(quote! {
                    #private::Row::OneOf(#private::OneOf { branches: &[#(#branches),*], at: #at })
                });
            }
            Entry::Equal(row) => self.equal(row, scope, rows),
            Entry::Ignore { pattern, when, .. } => self.ignore(pattern, when, scope, rows),
            Entry::Cfg(cfgs, entry) => self.cfg(cfgs, entry, scope, rows),
        }
    }

    /// All that a row stands for, with the checks of its operations, as one expression: a block
    /// without prefixes.
    fn cfg(
        &mut self,
        cfgs: &[Attribute],
        entry: &Entry,
        scope: &Scope,
        rows: &mut Vec<TokenStream>,
    ) {
        let private = self.private;
        let around = std::mem::take(&mut self.checks);
        let inside = self.inside(std::slice::from_ref(entry), scope);
        let checks = std::mem::replace(&mut self.checks, around);
        let when = Condition::default().expand(private);
        let at = core_path::location(private, cfgs[0].pound_token.spans[0]);
        rows.push(quote! {
            #(#cfgs)*
            {
                #checks
                #private::Row::Block(#private::Block {
                    source: #private::Pattern::EMPTY,
                    target: #private::Pattern::EMPTY,
                    when: #when,
                    optional: false,
                    repeat: ::core::option::Option::None,
                    rows: &[#(#inside),*],
                    at: #at,
                })
            }
        });
    }

    fn rule(&mut self, rule: &RuleRow, scope: &Scope, rows: &mut Vec<TokenStream>) {
        let RuleRow { sources, targets, said, suffix, extent } = rule;
        let (private, errors) = (self.private, self.errors);
        if suffix.via.is_empty() && (sources.len(), targets.len()) != (1, 1) {
            let message = format!(
                "a row with {} and {} needs an operation\nadd `via` and one of \
                 `connector_core::ops`, or a function with `#[state_transform]`",
                count(sources.len(), "source key"),
                count(targets.len(), "target key"),
            );
            errors.on(extent, message);
        }
        let first = suffix.via.first();
        let named: Vec<Ident> = suffix.via.iter().map(|via| self.operation(via)).collect();
        // Its name stands in the compiler's message.
        let fits = format_ident!("OPERATION_{}_FITS_ITS_ROW", self.operations);
        let operations = match first {
            Some(_) => quote!(&[#(#named),*]),
            None => quote!(&[<#private::ops::rename as #private::Transform>::OPERATION]),
        };
        let literals = sources.iter().chain(targets);
        let Some(combinations) = combinations(literals, &scope.chosen, errors) else { return };
        let (when, optional) = (suffix.when.clone().unwrap_or_default(), suffix.optional);
        let when = when.expand(private);
        let roles = said.iter().map(|said| Words::expand(said.as_ref(), private));
        let said = match said.iter().any(Option::is_some) {
            true => quote!(&[#(#roles),*]),
            false => quote!(&[]),
        };
        let at = core_path::location(private, sources[0].span());
        let mut checked = false;
        for chosen in combinations {
            let (sources, targets) =
                (keys(sources, &chosen, errors), keys(targets, &chosen, errors));
            let (Some(sources), Some(targets)) = (sources, targets) else { continue };
            distinct(&sources, "row", errors);
            distinct(&targets, "row", errors);
            let fold = match scope.folds.fold(rule, &sources, &targets) {
                Ok(fold) => fold.expand(private),
                Err(error) => {
                    errors.add(error);
                    continue;
                }
            };
            if let (Some(Via { operation, .. }), false) = (first, checked) {
                let (n, m) = (sources.len(), targets.len());
                let check = quote!(#private::check_row(#operations, #n, #m, #fold));
                let check = core_path::at(operation, check);
                self.checks.extend(quote!(#[allow(dead_code)] const #fits: () = #check;));
                checked = true;
            }
            let (sources, targets) = (expand_all(&sources, private), expand_all(&targets, private));
            rows.push(quote! {
                #private::Row::Rule(#private::Rule {
                    sources: #sources,
                    targets: #targets,
                    operations: #operations,
                    fold: #fold,
                    when: #when,
                    optional: #optional,
                    reads: &[],
                    said: #said,
                    at: #at,
                })
            });
        }
    }

    /// Looks an operation up, once for all that its row stands for, so that a path that names none
    /// is reported once.
    fn operation(&mut self, Via { operation, each }: &Via) -> Ident {
        let private = self.private;
        let each = each.then(|| quote!(.each()));
        let (value, number) =
            self.ask(operation, |ty| quote!(<#ty as #private::Transform>::OPERATION #each));
        let operation = format_ident!("__CONNECTOR_OPERATION_{number}");
        self.checks.extend(quote!(const #operation: #private::Operation = #value;));
        operation
    }

    /// What a state transform or operation says of itself, and its number.
    fn ask(
        &mut self,
        path: &Path,
        question: impl Fn(&TokenStream) -> TokenStream,
    ) -> (TokenStream, usize) {
        self.operations += 1;
        let Said { items, value } = operation::ask(path, self.operations, question);
        self.checks.extend(items);
        (value, self.operations)
    }

    fn block(&mut self, block: &BlockRow, scope: &Scope, rows: &mut Vec<TokenStream>) {
        let (private, errors) = (self.private, self.errors);
        let heads = [block.source.clone(), block.target.clone()];
        let Some(combinations) = combinations(&heads, &scope.chosen, errors) else { return };
        let (when, optional) = (block.when.expand(private), block.optional);
        let at = core_path::location(private, block.source.span());
        let repeat = match &block.repeat {
            Some(axis) => {
                let axis = axis.unraw().to_string();
                quote!(::core::option::Option::Some(#axis))
            }
            None => quote!(::core::option::Option::None),
        };
        for chosen in combinations {
            // A head may be empty: the rows inside then have their whole keys.
            let [source, target] = heads.each_ref().map(|literal| match literal.value().as_str() {
                "" => Some(None),
                _ => Key::new("", literal, &chosen, errors).map(Some),
            });
            let (Some(source), Some(target)) = (source, target) else { continue };
            let mut inner = scope.clone();
            inner.chosen = chosen;
            let (head, other) = (source.as_slice(), target.as_slice());
            errors.ok(inner.folds.enter(block, head, other));
            let pattern = |key: Option<Key>| match key {
                Some(key) => key.expand(private),
                None => quote!(#private::Pattern::EMPTY),
            };
            let (source, target) = (pattern(source), pattern(target));
            let inside = self.inside(&block.rows, &inner);
            rows.push(quote! {
                #private::Row::Block(#private::Block {
                    source: #source,
                    target: #target,
                    when: #when,
                    optional: #optional,
                    repeat: #repeat,
                    rows: &[#(#inside),*],
                    at: #at,
                })
            });
        }
    }

    fn equal(&mut self, row: &EqualRow, scope: &Scope, rows: &mut Vec<TokenStream>) {
        let (private, errors) = (self.private, self.errors);
        let EqualRow { left, right, copy, when, .. } = row;
        let Some(combinations) = combinations([left, right], &scope.chosen, errors) else { return };
        let when = when.expand(private);
        let at = core_path::location(private, left.span());
        for chosen in combinations {
            let left = Key::new("", left, &chosen, errors);
            let right = Key::new("", right, &chosen, errors);
            let (Some(left), Some(right)) = (left, right) else { continue };
            let both = [left, right];
            distinct(&both, "row", errors);
            let (of, to) = both.split_at(1);
            if !covers(&captured(&of[0]), &captured(&to[0])) {
                errors.add(disagreement(Place::Equal, of, to));
            }
            let [left, right] = both.map(|key| key.expand(private));
            rows.push(quote! {
                #private::Row::Equal(#private::Equal {
                    left: #left, right: #right, copy: #copy, when: #when, at: #at
                })
            });
        }
    }

    fn ignore(
        &mut self,
        literal: &LitStr,
        when: &Condition,
        scope: &Scope,
        rows: &mut Vec<TokenStream>,
    ) {
        let (private, errors) = (self.private, self.errors);
        let Some(combinations) = combinations([literal], &scope.chosen, errors) else { return };
        let when = when.expand(private);
        let at = core_path::location(private, literal.span());
        for chosen in combinations {
            let Some(key) = Key::new("", literal, &chosen, errors) else { continue };
            let pattern = key.expand(private);
            rows.push(quote! {
                #private::Row::Ignore(#private::Ignore { pattern: #pattern, when: #when, at: #at })
            });
        }
    }
}
