//! What the macros refuse, in which words, and what they accept.

#[test]
fn ui() {
    let tests = trybuild::TestCases::new();
    tests.compile_fail("tests/fail/*.rs");
    tests.pass("tests/pass/*.rs");
    // The examples in the documentation of the macros.
    tests.pass("../../connector-macros/doc/*.rs");
}
