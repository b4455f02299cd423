use proc_macro2::{Span, TokenStream};
use quote::ToTokens;
use std::cell::RefCell;
use std::fmt::Display;

/// The mistakes of one macro invocation, so that all of them are reported at once.
///
/// Panics if it is dropped without [`Errors::finish`]: a mistake that nobody reports would
/// compile.
pub struct Errors {
    found: RefCell<Option<Vec<syn::Error>>>,
}

impl Errors {
    pub fn new() -> Self {
        Errors { found: RefCell::new(Some(Vec::new())) }
    }

    /// A mistake in `tokens`.
    pub fn on(&self, tokens: impl ToTokens, message: impl Display) {
        self.add(syn::Error::new_spanned(tokens, message));
    }

    /// A mistake at `span`.
    pub fn at(&self, span: Span, message: impl Display) {
        self.add(syn::Error::new(span, message));
    }

    /// Takes over what syn found. A mistake that is there already is not added: the rows that
    /// one row with a choice stands for share their mistakes.
    pub fn add(&self, error: syn::Error) {
        let mut found = self.found.borrow_mut();
        let Some(found) = found.as_mut() else { return };
        let id = |e: &syn::Error| (e.to_string(), format!("{:?}", e.span()));
        if !found.iter().any(|earlier| id(earlier) == id(&error)) {
            found.push(error);
        }
    }

    /// The value, or `None` with its error taken over.
    pub fn ok<T>(&self, result: syn::Result<T>) -> Option<T> {
        result.map_err(|error| self.add(error)).ok()
    }

    /// How many have been found so far.
    pub fn count(&self) -> usize {
        self.found.borrow().as_ref().map_or(0, Vec::len)
    }

    /// Whether none has been found so far.
    pub fn is_empty(&self) -> bool {
        self.count() == 0
    }

    /// One `compile_error!` for each mistake, in the order of the source code.
    pub fn finish(self) -> TokenStream {
        let mut found = self.found.take().unwrap_or_default();
        if proc_macro::is_available() {
            found.sort_by_key(|error| {
                let at = error.span().unwrap();
                (at.line(), at.column())
            });
        }
        found.iter().map(syn::Error::to_compile_error).collect()
    }
}

impl Drop for Errors {
    fn drop(&mut self) {
        if self.found.borrow().is_some() && !std::thread::panicking() {
            panic!("the errors of a macro were dropped unreported");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[should_panic(expected = "dropped unreported")]
    fn unreported_errors_panic() {
        Errors::new().at(Span::call_site(), "a mistake");
    }

    #[test]
    fn all_are_reported_and_none_twice() {
        let errors = Errors::new();
        for message in ["one", "two", "one"] {
            errors.at(Span::call_site(), message);
        }
        assert!(!errors.is_empty());
        assert_eq!(errors.finish().to_string().matches("compile_error").count(), 2);
    }
}
