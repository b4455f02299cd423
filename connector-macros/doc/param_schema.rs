use connector_core::param_schema;
use connector_core::schema::Model;

#[derive(Clone, serde::Serialize, serde::Deserialize)]
pub struct Config {
    num_layers: usize,
    num_experts: usize,
    hidden: usize,
    vocab: usize,
    tied: bool,
    apart: bool,
}

impl Config {
    fn is_moe(&self, layer: usize) -> bool {
        self.num_experts > 0 && layer > 0
    }
}

param_schema! {
    /// A small mixture of experts.
    pub SmallModel(c: Config) {
        axis layer = c.num_layers;
        axis e = c.num_experts;
        field num_layers = c.num_layers;
        flag tied = c.tied;
        flag moe(layer) = c.is_moe(layer);
        flag dense(layer) = !c.is_moe(layer);
        one of moe, dense;
        flag apart = c.apart;

        "embedding.weight": [c.vocab, c.hidden];
        "output_layer.weight": [c.vocab, c.hidden] if !tied;
        "final_norm.{p:weight|bias}": [c.hidden] keep f32 aka "norm.{p}";
        "layers.{layer}" {
            "mlp.weight": [4 * c.hidden, c.hidden] if dense;
            "first_norm.weight": [c.hidden] if layer == 0;
            "mlp" if moe {
                "router.weight": [c.num_experts, c.hidden];
                "experts.weight{e}": [c.hidden, c.hidden] aka "experts.{e}.weight" when apart;
            }
        }
        "layers.{num_layers + e}.extra.weight": [e + 1];
    }
}

fn main() {
    let config =
        Config { num_layers: 2, num_experts: 4, hidden: 8, vocab: 16, tied: true, apart: false };
    let model = SmallModel::new(config);
    let parameters = SmallModel::instance(model.config()).unwrap();
    assert_eq!(parameters.shape(0, &[0, 0]), [16, 8]);
}
