use connector_core::{Tensor, state_transform};

#[state_transform(
    source_key = "model.layers.*.experts.*.w1.weight",
    target_key = "decoder.layers.*.mlp.experts.linear_fc1",
)]
fn f(a: Tensor) -> Tensor {
    a
}

fn main() {}
