/// Fields of `config.json` that have no effect on what any model computes: ids of tokens, defaults of
/// training and generation, notes of the tools that wrote the file.
#[rustfmt::skip] // One a line would be eighty lines.
pub const WITHOUT_EFFECT: &[&str] = &[
    "architectures", "transformers_version", "_name_or_path", "name_or_path",
    "_attn_implementation", "attn_implementation", "_flash_attn_2_enabled", "attention_dropout",
    "hidden_dropout", "resid_pdrop", "embd_pdrop", "classifier_dropout", "bos_token_id",
    "eos_token_id", "pad_token_id", "sep_token_id", "unk_token_id", "mask_token_id",
    "decoder_start_token_id", "forced_bos_token_id", "forced_eos_token_id", "tokenizer_class",
    "prefix", "task_specific_params", "problem_type", "finetuning_task", "id2label", "label2id",
    "num_labels", "use_cache", "return_dict", "output_attentions", "output_hidden_states",
    "output_scores", "return_dict_in_generate", "torchscript", "use_bfloat16", "tf_legacy_loss",
    "num_logits_to_keep", "logits_to_keep", "gradient_checkpointing", "max_sequence_length",
    "model_max_length", "cache_implementation", "max_length", "min_length", "do_sample",
    "early_stopping", "num_beams", "num_beam_groups", "diversity_penalty", "temperature", "top_k",
    "top_p", "typical_p", "repetition_penalty", "length_penalty", "no_repeat_ngram_size",
    "encoder_no_repeat_ngram_size", "bad_words_ids", "num_return_sequences",
    "remove_invalid_values", "exponential_decay_length_penalty", "suppress_tokens",
    "begin_suppress_tokens", "unsloth_version", "unsloth_fixed", "transformers.js_config",
    "torch_dtype", "dtype", "_commit_hash", "_attn_implementation_autoset", "attn_pdrop",
    "attn_dropout", "embedding_dropout",
];
