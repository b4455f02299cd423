#!/usr/bin/env python3
"""Writes a Llama checkpoint of a given size, with Llama-2's shape but as many layers as it takes.

synthetic_llama.py DIR GIGABYTES [--dtype BF16|F32] [--hidden N] [--shard GB] [--dense]

The files are sparse (all zeros) unless --dense: enough for memory and plans, not for the speed of a
disk. Standard library only.
"""
import argparse, json, os, struct

p = argparse.ArgumentParser()
p.add_argument("dir"); p.add_argument("gigabytes", type=float)
p.add_argument("--dtype", default="BF16"); p.add_argument("--hidden", type=int, default=4096)
p.add_argument("--shard", type=float, default=2.0); p.add_argument("--dense", action="store_true")
a = p.parse_args()

size = {"BF16": 2, "F16": 2, "F32": 4}[a.dtype]
hidden, ffn, heads, groups, vocab = a.hidden, a.hidden * 11 // 4, a.hidden // 128, a.hidden // 512, 32000
kv = groups * 128
layer = lambda l: [(f"model.layers.{l}.{n}.weight", s) for n, s in [
    ("input_layernorm", [hidden]), ("post_attention_layernorm", [hidden]),
    ("self_attn.q_proj", [hidden, hidden]), ("self_attn.k_proj", [kv, hidden]),
    ("self_attn.v_proj", [kv, hidden]), ("self_attn.o_proj", [hidden, hidden]),
    ("mlp.gate_proj", [ffn, hidden]), ("mlp.up_proj", [ffn, hidden]), ("mlp.down_proj", [hidden, ffn])]]
bytes_of = lambda shape: size * (shape[0] * (shape[1] if len(shape) > 1 else 1))
ends = [("model.embed_tokens.weight", [vocab, hidden]), ("model.norm.weight", [hidden]), ("lm_head.weight", [vocab, hidden])]
per_layer = sum(bytes_of(s) for _, s in layer(0))
layers = max(1, round((a.gigabytes * 1e9 - sum(bytes_of(s) for _, s in ends)) / per_layer))
tensors = ends[:1] + [t for l in range(layers) for t in layer(l)] + ends[1:]

shards, current, total = [[]], 0, 0
for name, shape in tensors:
    n = bytes_of(shape)
    if current and current + n > a.shard * 1e9:
        shards.append([]); current = 0
    shards[-1].append((name, shape)); current += n; total += n

os.makedirs(a.dir, exist_ok=True)
weight_map = {}
for i, shard in enumerate(shards):
    file, header, at = f"model-{i + 1:05}-of-{len(shards):05}.safetensors", {"__metadata__": {"format": "pt"}}, 0
    for name, shape in shard:
        header[name] = {"dtype": a.dtype, "shape": shape, "data_offsets": [at, at + bytes_of(shape)]}
        at += bytes_of(shape); weight_map[name] = file
    head = json.dumps(header).encode(); head += b" " * (-len(head) % 8)
    with open(os.path.join(a.dir, file), "wb") as f:
        f.write(struct.pack("<Q", len(head)) + head)
        if a.dense:
            block = os.urandom(1 << 20) * 16
            for start in range(0, at, len(block)):
                f.write(block[: min(len(block), at - start)])
        f.truncate(8 + len(head) + at)
json.dump({"metadata": {"total_size": total}, "weight_map": weight_map},
          open(os.path.join(a.dir, "model.safetensors.index.json"), "w"), indent=1)
json.dump({"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": hidden,
           "intermediate_size": ffn, "num_attention_heads": heads, "num_key_value_heads": groups,
           "num_hidden_layers": layers, "vocab_size": vocab, "rms_norm_eps": 1e-5, "rope_theta": 10000.0,
           "max_position_embeddings": 4096, "tie_word_embeddings": False},
          open(os.path.join(a.dir, "config.json"), "w"), indent=1)
print(f"{a.dir}: {layers} layers, {len(tensors)} tensors, {total / 1e9:.2f} GB in {len(shards)} shards")
