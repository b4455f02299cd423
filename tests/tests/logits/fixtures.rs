//! Against what transformers computed.

use crate::support::{FIXTURES, distance, load, reference};
use connector_tests::fixture;

/// What is asked is 1e-4; the largest that is found is about 1e-6, of logits up to 10.
const CLOSE: f64 = 1e-4;

#[test]
fn the_fixtures_give_the_logits_of_transformers() {
    for name in FIXTURES {
        let (tokens, want) = reference(name);
        let model = load(&fixture(&format!("{name}/hf")));
        let apart = distance(&model.forward(&tokens).unwrap(), &want);
        println!("{name}: {apart:e}");
        assert!(apart < CLOSE, "{name}: {apart:e}");
    }
}
