use syn::Attribute;
use syn::parse::ParseStream;

/// The attributes before a row: `#[cfg(…)]`, under which it stands; comments, `///`, are for readers.
pub fn cfgs(input: ParseStream<'_>) -> syn::Result<Vec<Attribute>> {
    let mut all = input.call(Attribute::parse_outer)?;
    all.retain(|attribute| !attribute.path().is_ident("doc"));
    match all.iter().find(|attribute| !attribute.path().is_ident("cfg")) {
        Some(other) => {
            let message = "a row takes `#[cfg(…)]` and comments, `///`, and no other attribute";
            Err(syn::Error::new_spanned(other, message))
        }
        None => Ok(all),
    }
}
