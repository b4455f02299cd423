//! The tests are in `tests`: what the macros expand to, and what they refuse in which words.
