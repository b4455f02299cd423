//! Dimensions as formulas over the config: by what they mean, or by what number they are.

use super::config::Config;
use super::idioms::Dim;

/// A dimension of a parameter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Dimension {
    /// A formula over the config `c`, and what a reader should know of it: that it was found by
    /// its number alone, and what else would give the same.
    Formula { text: String, notes: Vec<String> },
    /// What nothing explains, or too much: the reason.
    Undecided(String),
}

impl Dimension {
    /// The formula, if it is decided.
    pub fn text(&self) -> Option<&str> {
        match self {
            Dimension::Formula { text, .. } => Some(text),
            Dimension::Undecided(_) => None,
        }
    }
}

/// A formula, its value under this config, and the fields it reads.
struct Formula {
    text: String,
    value: u64,
}

/// What a reader should know of a formula that only its value speaks for.
const SIZE_ALONE: &str = "by its size alone";
/// How many other readings are told.
const MOST: usize = 3;

/// The dimension of size `size` that means `dim`.
pub fn dimension(config: &Config<'_>, dim: Dim, size: u64) -> Dimension {
    let meant = meaning(config, dim);
    match meant {
        Some(formula) if formula.value == size => {
            Dimension::Formula { text: formula.text, notes: Vec::new() }
        }
        Some(Formula { text: usual, value }) => match by_number(config, size) {
            // What it means elsewhere it does not mean here: a reader must know.
            Dimension::Formula { text, mut notes } => {
                notes.push(format!("elsewhere it is {usual} = {value}"));
                Dimension::Formula { text, notes }
            }
            Dimension::Undecided(reason) => {
                Dimension::Undecided(format!("{reason}; elsewhere it is {usual} = {value}"))
            }
        },
        None => by_number(config, size),
    }
}

/// The dimensions of a whole shape: by what they mean, if that is as many.
pub fn shape(config: &Config<'_>, dims: &[Dim], sizes: &[usize]) -> Vec<Dimension> {
    let known = dims.len() == sizes.len();
    let dims = dims.iter().copied().filter(|_| known).chain(std::iter::repeat(Dim::Any));
    sizes.iter().zip(dims).map(|(&size, dim)| dimension(config, dim, size as u64)).collect()
}

/// What a dimension is by its meaning.
fn meaning(config: &Config<'_>, dim: Dim) -> Option<Formula> {
    let field = |name: &str| {
        let value = config.size(name)?;
        Some(Formula { text: format!("c.{name}"), value })
    };
    let twice = |formula: Option<Formula>| {
        let Formula { text, value } = formula?;
        Some(Formula { text: format!("2 * {text}"), value: value.checked_mul(2)? })
    };
    let expert_ffn = || field("moe_ffn_hidden_size").or_else(|| field("ffn_hidden_size"));
    let product = |a: Option<Formula>, b: Option<Formula>| {
        let (a, b) = (a?, b?);
        let value = a.value.checked_mul(b.value)?;
        let factor = |f: &Formula| match f.text.contains(" + ") {
            true => format!("({})", f.text),
            false => f.text.clone(),
        };
        Some(Formula { text: format!("{} * {}", factor(&a), factor(&b)), value })
    };
    let sum = |a: &str, b: &str| {
        let (a, b) = (field(a)?, field(b)?);
        let value = a.value.checked_add(b.value)?;
        Some(Formula { text: format!("{} + {}", a.text, b.text), value })
    };
    let heads = || field("num_attention_heads");
    let shared_ffn = || {
        let several = || product(field("n_shared_experts"), field("moe_ffn_hidden_size"));
        field("moe_shared_expert_intermediate_size").or_else(several)
    };
    match dim {
        Dim::Hidden => field("hidden_size"),
        Dim::Vocabulary => field("vocab_size"),
        Dim::HeadWidth => field("kv_channels"),
        Dim::QueryWidth => {
            let value =
                config.size("num_attention_heads")?.checked_mul(config.size("kv_channels")?)?;
            Some(Formula { text: "c.query_width()".into(), value })
        }
        Dim::QkvRows => {
            let heads = config.size("num_query_groups")?.checked_mul(2)?;
            let heads = heads.checked_add(config.size("num_attention_heads")?)?;
            let value = heads.checked_mul(config.size("kv_channels")?)?;
            Some(Formula { text: "c.qkv_rows()".into(), value })
        }
        Dim::Ffn => field("ffn_hidden_size"),
        Dim::TwiceFfn => twice(field("ffn_hidden_size")),
        Dim::ExpertFfn => expert_ffn(),
        Dim::TwiceExpertFfn => twice(expert_ffn()),
        Dim::SharedFfn => shared_ffn(),
        Dim::TwiceSharedFfn => twice(shared_ffn()),
        Dim::Experts => field("num_moe_experts"),
        Dim::QueryRank => field("q_lora_rank"),
        Dim::KeyValueRank => field("kv_lora_rank"),
        Dim::LatentQuery => product(heads(), sum("qk_nope_head_dim", "qk_rope_head_dim")),
        Dim::LatentDown => sum("kv_lora_rank", "qk_rope_head_dim"),
        Dim::LatentUp => product(heads(), sum("qk_nope_head_dim", "v_head_dim")),
        Dim::LatentValues => product(heads(), field("v_head_dim")),
        Dim::Any => None,
    }
}

/// What a dimension may be by its number alone: the simplest formulas that give it. A field or a
/// width of heads is taken, with a note if there are others; a multiple, a product or a sum only if
/// it is the only one.
pub fn by_number(config: &Config<'_>, size: u64) -> Dimension {
    if size <= 1 {
        return Dimension::Formula { text: size.to_string(), notes: Vec::new() };
    }
    let fields = || {
        let sizes = config.fields.iter().filter_map(|field| Some((field, field.size?)));
        sizes.map(|(field, value)| Formula { text: format!("c.{}", field.name), value })
    };
    let equal = |formulas: Vec<Formula>| -> Vec<String> {
        formulas.into_iter().filter(|f| f.value == size).map(|f| f.text).collect()
    };
    let named = [Dim::QueryWidth, Dim::QkvRows].map(|dim| meaning(config, dim));
    let simple = [fields().collect(), named.into_iter().flatten().collect()];
    for found in simple.map(equal) {
        if let Some((text, also)) = found.split_first() {
            let mut notes = vec![SIZE_ALONE.to_string()];
            if !also.is_empty() {
                let also: Vec<&str> = also.iter().take(MOST).map(String::as_str).collect();
                notes.push(format!("{text} = {size} is also {}", also.join(", ")));
            }
            return Dimension::Formula { text: text.clone(), notes };
        }
    }
    let multiples = fields().filter(|f| f.value > 1).flat_map(|field| {
        [2, 3, 4].into_iter().filter_map(move |n| {
            let value = field.value.checked_mul(n)?;
            Some(Formula { text: format!("{n} * {}", field.text), value })
        })
    });
    let pairs = || {
        let all: Vec<Formula> = fields().filter(|f| f.value > 1).collect();
        let pairs = (0..all.len()).flat_map(|a| (a + 1..all.len()).map(move |b| (a, b)));
        pairs
            .map(|(a, b)| [(&all[a].text, all[a].value), (&all[b].text, all[b].value)])
            .map(|[(a, x), (b, y)]| (a.clone(), x, b.clone(), y))
            .collect::<Vec<_>>()
    };
    let products = || {
        pairs().into_iter().filter_map(|(a, x, b, y)| {
            Some(Formula { text: format!("{a} * {b}"), value: x.checked_mul(y)? })
        })
    };
    let sums = || {
        pairs().into_iter().filter_map(|(a, x, b, y)| {
            Some(Formula { text: format!("{a} + {b}"), value: x.checked_add(y)? })
        })
    };
    let mut found = equal(multiples.collect());
    if found.is_empty() {
        found = equal(products().collect());
    }
    if found.is_empty() {
        found = equal(sums().collect());
    }
    match found.as_slice() {
        [] => Dimension::Undecided(format!("{size}, which no number of config.json explains")),
        [one] => Dimension::Formula { text: one.clone(), notes: vec![SIZE_ALONE.into()] },
        many => {
            let list: Vec<&str> = many.iter().take(MOST).map(String::as_str).collect();
            Dimension::Undecided(format!("{size}, which may be {}", list.join(" or ")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// `c.hidden_size`, or `c.hidden_size // by its size alone`
    fn shown(dimension: Dimension) -> String {
        match dimension {
            Dimension::Formula { text, notes } if notes.is_empty() => text,
            Dimension::Formula { text, notes } => format!("{text} // {}", notes.join("; ")),
            Dimension::Undecided(reason) => format!("? {reason}"),
        }
    }

    fn json() -> serde_json::Value {
        json!({
            "num_hidden_layers": 3, "hidden_size": 48, "intermediate_size": 80, "vocab_size": 97,
            "num_attention_heads": 6, "num_key_value_heads": 2, "rank": 11, "kernel": 48,
            "pad_token_id": 13, "max_position_embeddings": 256,
        })
    }

    #[test]
    fn dimensions_by_their_number() {
        let json = json();
        let config = Config::new(&json);
        for (size, want) in [
            (97, "c.vocab_size // by its size alone"),
            (48, "c.hidden_size // by its size alone; c.hidden_size = 48 is also c.kernel"),
            (80, "c.ffn_hidden_size // by its size alone"),
            (8, "c.kv_channels // by its size alone"),
            (160, "2 * c.ffn_hidden_size // by its size alone"),
            (1, "1"),
            (0, "0"),
            (67 * 101, "? 6767, which no number of config.json explains"),
            (96, "? 96, which may be 2 * c.hidden_size or 2 * c.kernel"),
            (97 * 11, "c.vocab_size * c.rank // by its size alone"),
            (97 + 11, "c.vocab_size + c.rank // by its size alone"),
        ] {
            assert_eq!(shown(by_number(&config, size)), want, "{size}");
        }
    }

    #[test]
    fn dimensions_by_their_meaning() {
        let json = json();
        let config = Config::new(&json);
        for (dim, size, want) in [
            (Dim::QueryWidth, 48, "c.query_width()"),
            (Dim::Hidden, 48, "c.hidden_size"),
            (Dim::QkvRows, 80, "c.qkv_rows()"),
            (Dim::TwiceFfn, 160, "2 * c.ffn_hidden_size"),
            (
                Dim::HeadWidth,
                97,
                "c.vocab_size // by its size alone; elsewhere it is c.kv_channels = 8",
            ),
            (
                Dim::Hidden,
                6767,
                "? 6767, which no number of config.json explains; elsewhere it is c.hidden_size = 48",
            ),
            (Dim::Experts, 3, "c.num_layers // by its size alone"),
        ] {
            assert_eq!(shown(dimension(&config, dim, size)), want, "{dim:?} {size}");
        }
        let json = json!({
            "num_attention_heads": 4, "qk_nope_head_dim": 10, "qk_rope_head_dim": 6,
            "v_head_dim": 12, "kv_lora_rank": 18, "moe_intermediate_size": 24, "n_shared_experts": 2,
        });
        let config = Config::new(&json);
        for (dim, size, want) in [
            (
                Dim::LatentQuery,
                64,
                "c.num_attention_heads * (c.qk_nope_head_dim + c.qk_rope_head_dim)",
            ),
            (Dim::LatentDown, 24, "c.kv_lora_rank + c.qk_rope_head_dim"),
            (Dim::LatentValues, 48, "c.num_attention_heads * c.v_head_dim"),
            (Dim::SharedFfn, 48, "c.n_shared_experts * c.moe_ffn_hidden_size"),
            (Dim::TwiceSharedFfn, 96, "2 * c.n_shared_experts * c.moe_ffn_hidden_size"),
        ] {
            assert_eq!(shown(dimension(&config, dim, size)), want, "{dim:?} {size}");
        }
    }

    #[test]
    fn huge_numbers_do_not_overflow() {
        let json =
            json!({"hidden_size": u64::MAX, "num_attention_heads": 1u64 << 40, "x": u64::MAX - 1});
        let config = Config::new(&json);
        assert!(matches!(by_number(&config, 12345), Dimension::Undecided(_)));
        assert!(matches!(dimension(&config, Dim::QkvRows, 7), Dimension::Undecided(_)));
    }
}
