// The draft that docs/tutorial.md begins with.
#[path = "../../../../examples/scaffolded/1-draft/model.rs"]
mod model;

fn main() {}
