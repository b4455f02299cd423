use super::parse::{Absent, Declaration, Row, Scalar};
use crate::core_path::{self, spanned};
use proc_macro2::TokenStream;
use quote::{format_ident, quote, quote_spanned};
use syn::Lit;

/// The map, and for each row a constant that holds it against the fields of the config: what is
/// wrong with a row is reported at the row.
pub fn map(declaration: &Declaration, private: &TokenStream, sound: bool) -> TokenStream {
    let config = &declaration.config;
    let rows = declaration.rows.iter().map(|(cfgs, it)| {
        let row = row(it, private);
        quote!(#(#cfgs)* #row)
    });
    let checks = declaration.rows.iter().enumerate().map(|(number, (cfgs, row))| {
        // The name stands in the compiler's message.
        let fits = format_ident!("ROW_{}_FITS_THE_CONFIG", number + 1);
        let call = check(row, private)?;
        Some(quote!(#(#cfgs)* const #fits: () = #call;))
    });
    let checks = if sound { checks.collect::<Vec<_>>() } else { Vec::new() };
    quote! {
        const FIELDS: &[#private::Field] = <#config as #private::ConfigFields>::FIELDS;
        #(#checks)*
        #private::ConfigMap {
            fields: FIELDS,
            misfits: <#config as #private::ConfigFields>::misfits,
            rows: const { &[#(#rows),*] },
        }
    }
}

fn row(row: &Row, private: &TokenStream) -> TokenStream {
    match row {
        Row::Include(path) => quote!(#private::ConfigRow::Include(#path.rows)),
        Row::Field { .. } => {
            let field = field(row, private);
            quote!(#private::ConfigRow::Field(#field))
        }
        Row::Only { model, value } => {
            let at = core_path::location(private, model.span());
            let (model, value) = (model.to_string(), absent(Some(value), private));
            quote!(#private::ConfigRow::Only { model: #model, value: #value, at: #at })
        }
        Row::Constant { name, value } => {
            let value = scalar(value, private);
            quote!(#private::ConfigRow::Constant { name: #name, value: #value })
        }
        Row::Absent { name, value } => {
            let at = core_path::location(private, name.span());
            let value = scalar(value, private);
            quote!(#private::ConfigRow::Absent { name: #name, value: #value, at: #at })
        }
        Row::Carry { names, .. } => quote!(#private::ConfigRow::Carry(&[#(#names),*])),
        Row::Neutral { name, values } => {
            let values = values.iter().map(|value| scalar(value, private));
            quote!(#private::ConfigRow::Neutral { name: #name, values: &[#(#values),*] })
        }
    }
}

fn field(row: &Row, private: &TokenStream) -> TokenStream {
    let Row::Field { names, model, absent: value, via } = row else { return TokenStream::new() };
    let at = core_path::location(private, names[0].span());
    let value = absent(value.as_ref(), private);
    let via = match via {
        Some(path) => quote!(::core::option::Option::Some(#path)),
        None => quote!(::core::option::Option::None),
    };
    let model = model.to_string();
    quote! {
        #private::FieldRow {
            names: &[#(#names),*], model: #model, absent: #value, via: #via, at: #at,
        }
    }
}

fn check(row: &Row, private: &TokenStream) -> Option<TokenStream> {
    Some(match row {
        Row::Field { model, .. } => {
            let field = field(row, private);
            spanned(model.span(), quote!(#private::check_field(FIELDS, &#field)))
        }
        Row::Only { model, value } => {
            let (name, value) = (model.to_string(), absent(Some(value), private));
            spanned(model.span(), quote!(#private::check_only(FIELDS, #name, #value)))
        }
        Row::Carry { word, names } => {
            spanned(*word, quote!(#private::check_carried(&[#(#names),*])))
        }
        _ => return None,
    })
}

fn absent(value: Option<&Absent>, private: &TokenStream) -> TokenStream {
    match value {
        None => quote!(#private::Absent::Required),
        Some(Absent::Is(value)) => {
            let value = scalar(value, private);
            quote!(#private::Absent::Is(#value))
        }
        Some(Absent::Like(field)) => {
            let field = field.to_string();
            quote!(#private::Absent::Like(#field))
        }
        Some(Absent::By(path)) => quote!(#private::Absent::By(#path)),
    }
}

fn scalar(value: &Scalar, private: &TokenStream) -> TokenStream {
    match value {
        Scalar::Null(at) => quote_spanned!(*at=> #private::Scalar::Null),
        Scalar::List(at) => quote_spanned!(*at=> #private::Scalar::List),
        Scalar::Object(at) => quote_spanned!(*at=> #private::Scalar::Object),
        Scalar::Lit(Lit::Bool(value)) => quote!(#private::Scalar::Bool(#value)),
        Scalar::Lit(Lit::Int(value)) => quote!(#private::Scalar::Int(#value)),
        Scalar::Lit(Lit::Float(value)) => quote!(#private::Scalar::Float(#value)),
        Scalar::Lit(value) => quote!(#private::Scalar::Text(#value)),
    }
}
