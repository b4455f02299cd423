//! Fields of frameworks' configs that say how a model is trained and run, not what it computes.

/// Fields of Megatron-core's `TransformerConfig`, of NeMo's `GPTConfig` and of Megatron-Bridge's
/// `GPTModelProvider` (0.16.1, 2.5 and 0.3.1) that have no effect on what a model computes, or have
/// one only beside a field that is refused. Separated by spaces.
const NAMES: &str = "\
     account_for_embedding_in_pipeline_split account_for_loss_in_pipeline_split \
     activation_func_fp8_input_store add_bias_linear apply_query_key_layer_scaling \
     apply_rope_fusion async_tensor_model_parallel_allreduce attention_backend attention_dropout \
     attention_softmax_in_fp32 autocast_dtype barrier_with_L1_time batch_invariant_mode \
     batch_p2p_comm batch_p2p_sync beta_fast beta_slow bf16 bias_activation_fusion \
     bias_dropout_add_fusion bias_dropout_fusion cache_mla_latents calculate_per_token_loss \
     clone_scatter_output_in_embedding config_logger_dir context_parallel_size cp_comm_type \
     cpu_offloading cpu_offloading_activations cpu_offloading_double_buffering \
     cpu_offloading_num_layers cpu_offloading_weights cross_entropy_fusion_impl \
     cross_entropy_loss_fusion cuda_graph_impl cuda_graph_retain_backward_graph cuda_graph_scope \
     cuda_graph_use_single_mempool cuda_graph_warmup_steps data_step_fn \
     deallocate_pipeline_outputs defer_embedding_wgrad_compute delay_wgrad_compute \
     deterministic_mode disable_bf16_reduced_precision_matmul disable_parameter_transpose_cache \
     distribute_saved_activations dsa_indexer_head_dim dsa_indexer_loss_coeff dsa_indexer_n_heads \
     dsa_indexer_topk dsa_indexer_use_sparse_loss embedding_init_method embedding_init_method_std \
     enable_autocast enable_cuda_graph ep_overlap_early_attn_memory_release \
     expert_model_parallel_size expert_tensor_parallel_size external_cuda_graph \
     finalize_model_grads_func fine_grained_activation_offloading first_last_layers_bf16 \
     flash_decode forward_step_fn fp16 fp16_lm_cross_entropy fp32_residual_connection fp4 \
     fp4_param fp4_quantizer_factory fp4_recipe fp8 fp8_amax_compute_algo fp8_amax_history_len \
     fp8_dot_product_attention fp8_interval fp8_margin fp8_multi_head_attention fp8_param \
     fp8_quantizer_factory fp8_recipe fp8_wgrad fused_single_qkv_rope generation_config \
     grad_scale_func grad_sync_func gradient_accumulation_fusion hetereogenous_dist_checkpoint \
     hf_model_id hidden_dropout hierarchical_context_parallel_sizes hybrid_context_parallel \
     inference_fuse_tp_communication inference_rng_tracker inference_sampling_seed init_method \
     init_model_with_meta_device kitchen_attention_backend kv_lora_rank linear_conv_kernel_dim \
     linear_key_head_dim linear_num_key_heads linear_num_value_heads linear_value_head_dim \
     log_max_attention_logit mamba_head_dim mamba_num_groups mamba_num_heads mamba_state_dim \
     masked_softmax_fusion max_position_embeddings max_seqlen_per_dp_cp_rank \
     memory_efficient_layer_norm microbatch_group_size_per_vp_stage min_offloaded_tensor_size \
     mlp_chunks_for_prefill moe_deepep_num_sms moe_enable_deepep moe_enable_routing_replay \
     moe_extended_tp moe_flex_dispatcher_backend moe_hybridep_num_sms moe_layer_recompute \
     moe_pad_expert_input_to_capacity moe_per_layer_logging moe_permute_fusion \
     moe_router_bias_update_rate moe_router_dtype moe_router_force_load_balancing \
     moe_router_fusion moe_router_padding_for_fp8 moe_router_padding_for_quantization \
     moe_shared_expert_overlap moe_token_dispatcher_type moe_token_drop_policy \
     moe_use_legacy_grouped_gemm moe_z_loss_coeff mscale mscale_all_dim mtp_enabled \
     mtp_loss_scaling_factor mtp_standalone no_sync_func num_layers_at_end_in_bf16 \
     num_layers_at_start_in_bf16 num_layers_in_first_pipeline_stage \
     num_layers_in_last_pipeline_stage num_microbatches_with_partial_activation_checkpoints \
     offload_modules original_max_position_embeddings output_layer_init_method \
     overlap_moe_expert_parallel_comm overlap_p2p_comm overlap_p2p_comm_warmup_flush \
     parallel_output param_sync_func perform_initialization persist_layer_norm pipeline_dtype \
     pipeline_model_parallel_comm_backend pipeline_model_parallel_layout \
     pipeline_model_parallel_size q_lora_rank qk_clip qk_clip_alpha qk_clip_threshold qk_head_dim \
     qk_pos_emb_head_dim quant_recipe recompute_granularity recompute_method recompute_modules \
     recompute_num_layers restore_modelopt_state rope_scaling_factor rope_type \
     rotary_scaling_factor scatter_embedding_sequence_parallel seq_len_interpolation_factor \
     sequence_parallel should_pad_vocab symmetric_ar_type tensor_model_parallel_size test_mode \
     timers tp_comm_atomic_ag tp_comm_atomic_rs tp_comm_bootstrap_backend tp_comm_bulk_dgrad \
     tp_comm_bulk_wgrad tp_comm_overlap tp_comm_overlap_ag tp_comm_overlap_cfg \
     tp_comm_overlap_disable_fc1 tp_comm_overlap_disable_qkv tp_comm_overlap_rs \
     tp_comm_overlap_rs_dgrad tp_comm_split_ag tp_comm_split_rs tp_only_amax_red transformer_impl \
     transformer_layer_spec use_arbitrary_attention_mask use_cpu_initialization \
     use_fused_weighted_squared_relu use_inference_optimized_layers use_kitchen \
     use_kitchen_attention use_mamba_mem_eff_path use_ring_exchange_p2p use_te_activation_func \
     use_te_rng_tracker use_transformer_engine_full_layer_spec use_transformer_engine_op_fuser \
     v_head_dim variable_seq_lengths virtual_pipeline_model_parallel_size wgrad_deferral_limit";

/// Whether a field has no effect on what a model computes.
pub(super) fn is_without_effect(field: &str) -> bool {
    NAMES.split_whitespace().any(|name| name == field)
}
