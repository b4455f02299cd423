#![deny(warnings, clippy::all, unused_qualifications)]

use connector_core::mapping::Mapping;
use connector_core::{Tensor, mapping, ops, state_transform};

#[state_transform(source_key = "x", target_key = "y")]
fn keyed(x: Tensor) -> Tensor {
    x
}

#[state_transform(inverse = split)]
fn join(a: Tensor, _b: Tensor) -> Tensor {
    a
}

#[state_transform(inverse = join)]
fn split(ab: Tensor) -> (Tensor, Tensor) {
    (ab.clone(), ab)
}

#[state_transform(inverse = spread)]
fn gather(all: &[Tensor]) -> Tensor {
    all[0].clone()
}

#[state_transform(inverse = gather)]
fn spread(all: Tensor) -> Vec<Tensor> {
    vec![all]
}

mod shared {
    use super::*;

    #[state_transform(source_key = "n", target_key = "m")]
    pub fn named(n: Tensor) -> Tensor {
        n
    }

    #[state_transform]
    pub fn local(x: Tensor) -> Tensor {
        x
    }

    pub const ROWS: Mapping = mapping! {
        "o" => "o",
        // The axis is that of the block around the include.
        "w" => "w" stack e,
    };
}

const MAPPING: Mapping = mapping! {
    "embed" => "embedding",
    "maybe" => "maybe" optional,
    "either" => "either" via ops::rename when tied && !moe optional,
    ("a", "b") => "ab" via join,
    "c" => ("d", "e") via split when tied,
    "all.{e}" => "all" via gather,
    "one" => "one.{e}" via spread,
    "s.{l}.{e}" => "s.{l}" stack e,
    "u.{l}" => "u.{l}.{e}" unstack e,
    "p.{l}.{e}" => "p.{e}.{l}",
    "head" == "embed" when tied,
    "same.{l}" == "other.{l}",
    ignore "buffers.**",
    ignore "buffer.{p:a|b}" when moe,
    "layers.{layer}" => "decoder.{layer}" when !tied {
        "x.{p:weight|bias}" => "y.{p}",
        "self_attn.{proj:q|k}" => "attn.{proj}" {
            "{p:weight|bias}" => "{p}",
        }
        "experts.{e}" => "experts" {
            ..shared::ROWS,
            "up" => "up.{e}",
            "down" => "down" stack e,
        },
    }
    "old" => "" { "x.*" => "y.*" }
    "" => "new" { "x" => "y" },
    one_of {
        fused { "qk" => "qk" }
        split { ("q", "k") => "qk" via join },
    }
    keyed,
    shared::named,
};

const EMPTY: Mapping = mapping! {};

fn main() {
    // Inside a function too, and with paths of every kind.
    #[state_transform]
    fn inner(x: Tensor) -> Tensor {
        x
    }
    const LOCAL: Mapping = mapping! {
        "a" => "b" via inner,
        "c" => "d" via self::shared::local,
        ("e", "f") => "g" via crate::join,
        crate::shared::named,
    };
    assert_eq!(LOCAL.rows.len(), 4);
    let _ = inner;
    assert_eq!(MAPPING.rows.len(), 21);
    assert!(EMPTY.rows.is_empty());
    let local = mapping! { "a" => "b" };
    assert_eq!(local.rows.len(), 1);
    let _ = (keyed, shared::named, join, split, gather, spread);
}
