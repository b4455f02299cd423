use connector_core::mapping;
use connector_core::mapping::Mapping;

const _: Mapping = mapping! {
    "a..b" => "c",
    "d" => "e" if tied,
    ("f", "g") => "h",
    "i.{x}" => "j.{y}",
};

fn main() {}
