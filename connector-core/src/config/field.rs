use super::Scalar;
use serde_json::Value;

/// A field of a model's config.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// Its name: Megatron-core's, where it has one.
    pub name: &'static str,
    /// What values it has.
    pub kind: Kind,
    /// Megatron-core's default, which a config does not have to say; `None` if it has to.
    pub core: Option<Scalar>,
    /// What Megatron-LM's command line calls it.
    pub args: Args,
}

/// What values a field has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A whole number.
    Size,
    /// A number.
    Number,
    /// True or false.
    Switch,
    /// A text.
    Text,
    /// Something with a form of its own.
    Other,
}

/// What Megatron-LM's command line calls a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Args {
    /// The same.
    Same,
    /// Otherwise.
    As(&'static str),
    /// By its opposite.
    Not(&'static str),
    /// By several arguments, which are made and read together; or it is no field of Megatron-core's.
    Made,
    /// It has no argument, nor a field of Megatron-core's config: what differs from the default cannot
    /// be said, and changes this: "the scores of attention".
    Unsaid(&'static str),
}

/// A model's config whose fields are declared, so that a [`config_map!`](crate::config_map) can be
/// held against them. [`config_fields!`](crate::config_fields) declares a struct and its fields.
#[diagnostic::on_unimplemented(
    message = "the fields of `{Self}` are not declared",
    note = "`config_map!` is for configs with a table of their fields, such as `GptConfig`; \
            declare a struct of your own with `config_fields!`"
)]
pub trait ConfigFields {
    /// Every field.
    const FIELDS: &'static [Field];

    /// What in `config`, as JSON, makes no model. The default: a size that is 0, or so large that a
    /// shape may overflow.
    fn misfits(config: &Value) -> Vec<Misfit> {
        let sizes = Self::FIELDS.iter().filter(|field| field.kind == Kind::Size);
        let misfit = |field: &Field| {
            let size = config.get(field.name)?.as_u64()?;
            // No shape is made of it.
            let largest = if field.name == "seq_length" { LONGEST } else { LARGEST };
            let problem = format!("is {size}; it should be from 1 to {largest}");
            let fits = (1..=largest as u64).contains(&size);
            (!fits).then_some(Misfit { field: field.name, problem })
        };
        sizes.filter_map(misfit).collect()
    }
}

/// The largest size that a config may name. Products of three of them fit in 64 bits twice over.
pub(crate) const LARGEST: usize = 1 << 20;

/// The longest sequence that a config may name.
pub(crate) const LONGEST: usize = 1 << 31;

/// Declares the struct of a model's config and the table of its fields, which a
/// [`config_map!`](crate::config_map) is held against. Every field has to be made by a row.
///
/// ```
/// use connector_core::config::ConfigMap;
/// use connector_core::{config_fields, config_map, gpt};
///
/// config_fields! {
///     /// What Kestrel's shapes follow from.
///     #[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
///     pub struct KestrelConfig {
///         /// The width of the residual stream.
///         pub hidden_size: usize,
///         /// What a layer adds is multiplied by this.
///         pub residual_scale: f64,
///     }
/// }
///
/// const CONFIG: ConfigMap = config_map! { KestrelConfig {
///     "model_type" = "kestrel",
///     "hidden_size" <=> hidden_size,
///     "residual_scale" <=> residual_scale = 1.0,
/// }};
/// ```
#[macro_export]
macro_rules! config_fields {
    (
        $(#[$attribute:meta])*
        $visible:vis struct $Config:ident {
            $( $(#[$doc:meta])* $shown:vis $field:ident: $type:ty ),* $(,)?
        }
    ) => {
        $(#[$attribute])*
        $visible struct $Config {
            $( $(#[$doc])* $shown $field: $type, )*
        }

        impl $crate::config::ConfigFields for $Config {
            const FIELDS: &'static [$crate::config::Field] = &[
                $( $crate::config::Field {
                    name: ::core::stringify!($field),
                    kind: <$type as $crate::config::FieldType>::KIND,
                    core: ::core::option::Option::None,
                    args: $crate::config::Args::Made,
                }, )*
            ];
        }
    };
}

/// A field of a config that makes no model.
#[derive(Clone, Debug)]
pub struct Misfit {
    /// The field.
    pub field: &'static str,
    /// What is wrong with it, "is 0; …".
    pub problem: String,
}

/// The type of a field.
pub trait FieldType {
    /// What values it has.
    const KIND: Kind;
}

impl FieldType for usize {
    const KIND: Kind = Kind::Size;
}

impl FieldType for f64 {
    const KIND: Kind = Kind::Number;
}

impl FieldType for bool {
    const KIND: Kind = Kind::Switch;
}

impl FieldType for String {
    const KIND: Kind = Kind::Text;
}

impl<T: FieldType> FieldType for Option<T> {
    const KIND: Kind = T::KIND;
}

impl FieldType for (usize, usize) {
    const KIND: Kind = Kind::Other;
}

impl<T> FieldType for Vec<T> {
    const KIND: Kind = Kind::Other;
}

impl Kind {
    /// Whether `value` is one of its values.
    pub(super) fn takes(self, value: &Value) -> bool {
        match self {
            Kind::Size => value.is_u64(),
            Kind::Number => value.is_number(),
            Kind::Switch => value.is_boolean(),
            Kind::Text => value.is_string(),
            Kind::Other => true,
        }
    }

    /// For messages.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Kind::Size => "a whole number",
            Kind::Number => "a number",
            Kind::Switch => "true or false",
            Kind::Text => "a text",
            Kind::Other => "a value of its own form",
        }
    }
}
