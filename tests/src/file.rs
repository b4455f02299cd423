use crate::Tensor;
use serde_json::{Map, Value, json};

/// The bytes of a safetensors file with these tensors, in this order, whatever they are called.
pub fn encode<'a>(tensors: impl IntoIterator<Item = &'a Tensor>) -> Vec<u8> {
    let mut header = r#"{"__metadata__":{"format":"pt"}"#.to_string();
    let mut data = Vec::new();
    for Tensor { name, dtype, shape, bytes } in tensors {
        let offsets = [data.len(), data.len() + bytes.len()];
        let entry = json!({"dtype": dtype, "shape": shape, "data_offsets": offsets});
        header.push_str(&format!(",{}:{entry}", Value::from(name.as_str())));
        data.extend_from_slice(bytes);
    }
    header.push('}');
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend_from_slice(header.as_bytes());
    file.extend_from_slice(&data);
    file
}

/// The bytes of a `model.safetensors.index.json` that lists these tensors in these shards.
pub fn index<'a>(homes: impl IntoIterator<Item = (&'a str, &'a str)>) -> Vec<u8> {
    let map: Map<String, Value> =
        homes.into_iter().map(|(tensor, shard)| (tensor.into(), shard.into())).collect();
    let index = json!({"metadata": {"total_size": 0}, "weight_map": map});
    serde_json::to_vec_pretty(&index).expect("it is JSON already")
}
