//! The grammar of checkpoint keys.
//!
//! A *key* is the full name of a tensor in a checkpoint, `model.layers.3.mlp.down_proj.weight`.
//! A *pattern* is a key with captures. This crate parses patterns, matches keys against them and
//! fills captured values into them; it also holds the conditions under which parameters exist.
//! The macros and the engine both use it, so that the grammar exists once. Everything that the
//! compiler needs to prove a mapping is a `const fn`.
//!
//! ```
//! use connector_key::Pattern;
//!
//! let source = Pattern::parse("model.layers.{layer}.mlp.experts.{e}.w1.weight")?;
//! let target = Pattern::parse("decoder.layers.{layer}.mlp.experts.linear_fc1.weight{e}")?;
//!
//! let captures = source.captures("model.layers.11.mlp.experts.3.w1.weight").unwrap();
//! assert_eq!(captures.index("layer"), Some(11));
//! assert_eq!(
//!     target.key(&captures, |_| None).unwrap(),
//!     "decoder.layers.11.mlp.experts.linear_fc1.weight3"
//! );
//! # Ok::<(), connector_key::SyntaxError>(())
//! ```
//!
//! # Syntax
//!
//! A pattern is anchored at both ends, and whatever is not a capture is literal.
//!
//! | piece | matches |
//! |---|---|
//! | `*` | one or more characters without a dot; may be glued to text, as in `weight*` |
//! | `**` | one or more characters, dots allowed; whole segments only |
//! | `{name}` | an index: decimal digits without a leading zero; `name` is an axis |
//! | `{name:word}` | one or more characters without a dot |
//! | `{name:a\|b}` | one of the listed texts; [`expand`] turns it into one pattern per text |
//! | `{2 + name}`, `{name - 2}` | an index that is 2 higher, or lower, in the key than in the capture |
//! | `{field + name}` | the same with a field of the model's config, `{num_layers + mtp}` |
//! | `{5 * name + 3}` | an index of which the key shows a multiple |
//! | `{name:field}` | a field of the model's config, `{num_layers:field}`; captures nothing |
//!
//! - Captures are compared by *value*: `{layer}` on one side and `{layer}` on the other are the
//!   same layer, whatever the order of the keys. `*` and `**` have no name and are joined by
//!   position.
//! - Two captures must have text between them. `{a}{b}` is refused: nothing says where the one
//!   ends. For the same reason no digit may follow an index.
//! - Segments are separated by `.` and may not be empty. `{`, `}` and `*` cannot stand in a key
//!   as text.
#![no_std]

extern crate alloc;

mod captures;
mod choice;
mod condition;
mod distance;
mod fill;
mod lexicon;
mod matching;
mod parse;
mod pattern;
mod role;

pub use captures::{Capture, Captures};
pub use choice::{Choice, choices, expand, substitute};
pub use condition::{Below, Condition, MAX_FLAGS, MAX_MET, Term, Truth};
pub use distance::{MAX_COMPARED, distance, same, similar};
pub use lexicon::Name;
pub use parse::{SyntaxError, SyntaxErrorKind};
pub use pattern::{JoinError, MAX_PARTS, Offset, Part, Pattern};
pub use role::{Kind, Meaning, Order, Role, Scope};
