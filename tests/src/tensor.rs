/// A tensor in memory, to be written into a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tensor {
    /// The key.
    pub name: String,
    /// The type as a safetensors header names it, `BF16`.
    pub dtype: String,
    /// The dimensions.
    pub shape: Vec<usize>,
    /// The numbers.
    pub bytes: Vec<u8>,
}

/// Where a tensor's numbers come from.
#[derive(Clone, Copy, Debug)]
pub enum Fill {
    /// Bytes that depend on the tensor's name and on nothing else.
    Noise,
    /// Zeros.
    Zero,
    /// For `F32`: the value of each element, by its number.
    Value(fn(usize) -> f32),
}

impl Tensor {
    /// A tensor of the given type, shape and numbers.
    pub fn new(name: &str, dtype: &str, shape: &[usize], fill: Fill) -> Self {
        let elements: usize = shape.iter().product();
        let size = elements * bits(dtype) / 8;
        let bytes = match fill {
            Fill::Noise => noise(name, size),
            Fill::Zero => vec![0; size],
            Fill::Value(value) => {
                assert_eq!(dtype, "F32", "values are for F32");
                (0..elements).flat_map(|i| value(i).to_le_bytes()).collect()
            }
        };
        Tensor { name: name.into(), dtype: dtype.into(), shape: shape.into(), bytes }
    }

    /// A tensor of `F32` noise.
    pub fn noise(name: &str, shape: &[usize]) -> Self {
        Tensor::new(name, "F32", shape, Fill::Noise)
    }

    /// The same numbers under another name.
    #[must_use]
    pub fn named(&self, name: &str) -> Self {
        Tensor { name: name.into(), ..self.clone() }
    }
}

/// The size of an element in bits.
fn bits(dtype: &str) -> usize {
    match dtype {
        "F4" => 4,
        "F6_E2M3" | "F6_E3M2" => 6,
        "BOOL" | "U8" | "I8" => 8,
        "I16" | "U16" | "F16" | "BF16" => 16,
        "I32" | "U32" | "F32" => 32,
        "I64" | "U64" | "F64" | "C64" => 64,
        _ if dtype.starts_with("F8_") => 8,
        _ => panic!("what is {dtype}?"),
    }
}

/// Bytes without a pattern that a wrong offset could hide in: splitmix64, seeded by the name.
fn noise(name: &str, size: usize) -> Vec<u8> {
    let seed = name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)).to_le_bytes()
    };
    let mut bytes: Vec<u8> = (0..size.div_ceil(8)).flat_map(|_| next()).collect();
    bytes.truncate(size);
    bytes
}
