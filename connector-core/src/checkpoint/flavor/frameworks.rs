/// What frameworks for training call a model: a connector's
/// [`FRAMEWORKS`](crate::ModelConnector::FRAMEWORKS).
///
/// From it and the model's config come the files that rebuild the model there. A field that a
/// framework's class has no place for, an embedding that is scaled say, is a warning of the import.
#[derive(Clone, Copy, Debug)]
pub struct Frameworks {
    /// NeMo's names, in `context/io.json`.
    pub nemo: NemoNames,
    /// The path of Megatron-Bridge's class of provider, in `run_config.yaml`.
    pub bridge: &'static str,
    /// Whether the models of both multiply the embedding by the square root of `hidden_size`. Of
    /// Megatron-LM none does.
    pub scale_embedding: bool,
}

/// What NeMo 2 calls a model.
#[derive(Clone, Copy, Debug)]
pub struct NemoNames {
    /// The module of its classes, `nemo.collections.llm.gpt.model.llama`.
    pub module: &'static str,
    /// The class of the model, `LlamaModel`.
    pub model: &'static str,
    /// The class of its config, `LlamaConfig`.
    pub config: &'static str,
    /// The class of its config if rotary frequencies are scaled as in Llama 3.1.
    pub llama3_config: Option<&'static str>,
    /// Fields that are of this class alone, and what its importer sets them to.
    pub also: &'static [(&'static str, NemoValue)],
}

/// What a field of NeMo is set to.
#[derive(Clone, Copy, Debug)]
pub enum NemoValue {
    /// The same for every model.
    Is(bool),
    /// The field of this name in the model's config.
    Of(&'static str),
}
