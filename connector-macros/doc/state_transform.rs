use connector_core::{Tensor, TransformCtx, state_transform, transforms};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// A whole rule: the keys of a checkpoint from Hugging Face, and the key they become.
#[state_transform(
    source_key = (
        "model.layers.*.self_attn.q_proj.weight",
        "model.layers.*.self_attn.k_proj.weight",
        "model.layers.*.self_attn.v_proj.weight",
    ),
    target_key = "decoder.layers.*.self_attention.linear_qkv.weight",
    inverse = split,
)]
fn combine(ctx: &TransformCtx, q: Tensor, _k: Tensor, _v: Tensor) -> Result<Tensor> {
    let _heads = ctx.number("num_attention_heads").ok_or("no `num_attention_heads`")?;
    Ok(q)
}

/// An operation, for rows that say `via split`.
#[state_transform(inverse = combine)]
fn split(qkv: Tensor) -> Result<[Tensor; 3]> {
    Ok([qkv.clone(), qkv.clone(), qkv])
}

/// All experts of a layer at once; `_scale` and `experts` are found by their names.
#[state_transform(
    source_key(
        experts = "model.layers.{layer}.experts.{e}.w1.weight",
        _scale = "model.layers.{layer}.experts.scale",
    ),
    target_key = "decoder.layers.{layer}.mlp.experts.linear_fc1.weight",
    when = moe && !shared,
    optional,
)]
fn gather(_scale: Tensor, experts: &[Tensor]) -> Result<Tensor> {
    Ok(experts.first().ok_or("no experts")?.clone())
}

fn main() {
    // The functions are ordinary functions; as rules they are listed by name.
    let _: fn(Tensor) -> Result<[Tensor; 3]> = split;
    let rules = transforms![combine, gather];
    assert_eq!(rules[0][0].sources.len(), 3);
}
