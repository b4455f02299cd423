//! Compiles the code of the README. The examples themselves are programs beside this file.

#[doc = include_str!("../README.md")]
#[derive(Debug)]
pub struct Readme;
