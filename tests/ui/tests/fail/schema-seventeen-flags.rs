use connector_core::param_schema;

#[derive(Clone, serde::Serialize, serde::Deserialize)]
pub struct Config {
    layers: usize,
    hidden: usize,
    tied: bool,
}

param_schema! { pub MyModel(c: Config) {
    flag f1 = c.tied;
    flag f2 = c.tied;
    flag f3 = c.tied;
    flag f4 = c.tied;
    flag f5 = c.tied;
    flag f6 = c.tied;
    flag f7 = c.tied;
    flag f8 = c.tied;
    flag f9 = c.tied;
    flag f10 = c.tied;
    flag f11 = c.tied;
    flag f12 = c.tied;
    flag f13 = c.tied;
    flag f14 = c.tied;
    flag f15 = c.tied;
    flag f16 = c.tied;
    flag f17 = c.tied;
    "w": [c.hidden];
} }

fn main() {}
