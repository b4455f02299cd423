//! Options: their fields, their defaults, and a setter for each, in one declaration.

/// Declares the options of something. Each field has a default, and a setter of its name that takes
/// and returns the options, so that they can be written in one expression.
///
/// The setter of an `Option` takes what is in it; of texts and paths, whatever becomes one; of a
/// list of texts, any list.
macro_rules! options {
    ($(#[$about:meta])* pub struct $Options:ident { $($fields:tt)* }) => {
        options!(@next $Options [$(#[$about])*] [] $($fields)*);
    };
    // One field after the other, by the type that it is written with.
    (@next $O:ident $about:tt [$($done:tt)*]
        $(#[$doc:meta])* pub $field:ident: String = $default:expr, $($rest:tt)*) => {
        options!(@next $O $about [$($done)* {
            [$(#[$doc])*] $field [String] [impl Into<String>] [$field.into()] $default
        }] $($rest)*);
    };
    (@next $O:ident $about:tt [$($done:tt)*]
        $(#[$doc:meta])* pub $field:ident: Option<String> = $default:expr, $($rest:tt)*) => {
        options!(@next $O $about [$($done)* {
            [$(#[$doc])*] $field [Option<String>] [impl Into<String>] [Some($field.into())]
            $default
        }] $($rest)*);
    };
    (@next $O:ident $about:tt [$($done:tt)*]
        $(#[$doc:meta])* pub $field:ident: Option<PathBuf> = $default:expr, $($rest:tt)*) => {
        options!(@next $O $about [$($done)* {
            [$(#[$doc])*] $field [Option<PathBuf>] [impl Into<PathBuf>] [Some($field.into())]
            $default
        }] $($rest)*);
    };
    (@next $O:ident $about:tt [$($done:tt)*]
        $(#[$doc:meta])* pub $field:ident: Option<$type:ty> = $default:expr, $($rest:tt)*) => {
        options!(@next $O $about [$($done)* {
            [$(#[$doc])*] $field [Option<$type>] [$type] [Some($field)] $default
        }] $($rest)*);
    };
    (@next $O:ident $about:tt [$($done:tt)*]
        $(#[$doc:meta])* pub $field:ident: Vec<String> = $default:expr, $($rest:tt)*) => {
        options!(@next $O $about [$($done)* {
            [$(#[$doc])*] $field [Vec<String>] [impl IntoIterator<Item = impl Into<String>>]
            [$field.into_iter().map(Into::into).collect()] $default
        }] $($rest)*);
    };
    (@next $O:ident $about:tt [$($done:tt)*]
        $(#[$doc:meta])* pub $field:ident: $type:ty = $default:expr, $($rest:tt)*) => {
        options!(@next $O $about [$($done)* {
            [$(#[$doc])*] $field [$type] [$type] [$field] $default
        }] $($rest)*);
    };
    (@next $O:ident [$($about:tt)*] [$({
        [$($doc:tt)*] $field:ident [$($type:tt)*] [$($taken:tt)*] [$($made:tt)*] $default:expr
    })*]) => {
        $($about)*
        #[derive(Clone, Debug)]
        #[non_exhaustive]
        pub struct $O {
            $($($doc)* pub $field: $($type)*,)*
        }

        impl Default for $O {
            fn default() -> Self {
                $O { $($field: $default,)* }
            }
        }

        impl $O {
            $(
                $($doc)*
                #[must_use]
                pub fn $field(mut self, $field: $($taken)*) -> Self {
                    self.$field = $($made)*;
                    self
                }
            )*
        }
    };
}

pub(crate) use options;
