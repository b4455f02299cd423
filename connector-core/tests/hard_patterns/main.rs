//! The key mappings that break a simple wildcard matcher, one section each: what the language says
//! to them. NeMo 2 gets them wrong silently, because it pairs tensors by rank; here they are joined
//! by captured value, or refused with a finding that names the key, or do not compile.
//!
//! | # | pattern | where |
//! |---|---|---|
//! | 1 2 3 6 10 11 12 13 | order, gaps, missing members | `joins` |
//! | 4 5 19 21 32 | what `*`, `**` and `{index}` take | `wildcards` |
//! | 7 8 9 22 31 | layers that differ | `layers` |
//! | 14 15 30 | an axis in the keys on one side, in the tensor on the other | `axes` |
//! | 16 17 18 23 24 25 29 | what happens to the numbers | `values` |
//! | 20 | arithmetic on indices | `offsets` |
//! | 26 27 28 36 | spellings, and what may be absent | `spellings` |
//! | 33 34 | slips | `slips` |
//! | 35 | tens of thousands of keys | `scale` |

#[path = "../../src/plan/test_support.rs"]
mod support;

mod axes;
mod joins;
mod layers;
mod offsets;
mod scale;
mod slips;
mod spellings;
mod values;
mod wildcards;
