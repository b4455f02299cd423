//! What holds for a prefix and for a parameter under it excludes each other.

use connector_core::param_schema;

#[derive(Clone, serde::Serialize, serde::Deserialize)]
pub struct Config {
    tied: bool,
}

param_schema! {
    pub Finch(c: Config) {
        flag tied = c.tied;
        "head" if tied {
            "weight": [4] if !tied;
        }
    }
}

fn main() {}
