//! Keys of `config.json` that are known but not computed with, as transformers 4 and 5 and public models write them.

use crate::keys::{Known, Neutral};
use Neutral::{All, Empty, Flag, Number};

/// Keys that every family may have.
pub const COMMON: Known = Known {
    harmless: &[
        // The origin of the file and of the model.
        "_name_or_path",
        "name_or_path",
        "_commit_hash",
        "_from_model_config",
        "transformers_version",
        "unsloth_*",
        "finetuning_task",
        "tokenizer_class",
        "model_max_length",
        "max_sequence_length",
        // The types of weights and intermediate values. This program computes in its own precision.
        "torch_dtype",
        "dtype",
        "use_bfloat16",
        "use_cache",
        "torchscript",
        "tf_legacy_loss",
        "_attn_implementation*",
        "attn_implementation",
        "_flash_attn_2_enabled",
        "gradient_checkpointing",
        "chunk_size_feed_forward",
        "reorder_and_upcast_attn",
        // The number of slices in which one product is computed.
        "pretraining_tp",
        // Initial weights of a new model, and dropout in training.
        "initializer_range",
        "attention_dropout",
        "hidden_dropout",
        "classifier_dropout",
        "attn_pdrop",
        "resid_pdrop",
        "embd_pdrop",
        // The outputs of transformers' functions.
        "output_attentions",
        "output_hidden_states",
        "output_past",
        "return_dict",
        "tie_last_hidden_states",
        // Heads for tasks other than language modelling.
        "id2label",
        "label2id",
        "num_labels",
        "_num_labels",
        "problem_type",
        "task_specific_params",
        "summary_*",
        "prefix",
        // Tokens that the tokenizer's files decide.
        "pad_token_id",
        "unk_token_id",
        "sep_token_id",
        "cls_token_id",
        "mask_token_id",
        "decoder_start_token_id",
        "is_decoder",
        // Generation, which the command line and generation_config.json decide.
        "max_length",
        "min_length",
        "do_sample",
        "early_stopping",
        "num_beams",
        "num_beam_groups",
        "diversity_penalty",
        "temperature",
        "top_k",
        "top_p",
        "typical_p",
        "repetition_penalty",
        "length_penalty",
        "no_repeat_ngram_size",
        "encoder_no_repeat_ngram_size",
        "bad_words_ids",
        "num_return_sequences",
        "output_scores",
        "return_dict_in_generate",
        "forced_bos_token_id",
        "forced_eos_token_id",
        "remove_invalid_values",
        "exponential_decay_length_penalty",
        "suppress_tokens",
        "begin_suppress_tokens",
    ],
    neutral: &[
        // Other structures.
        ("is_encoder_decoder", &[Flag(false)]),
        ("add_cross_attention", &[Flag(false)]),
        ("cross_attention_hidden_size", &[]),
        ("tie_encoder_decoder", &[Flag(false)]),
        ("pruned_heads", &[Empty]),
        ("per_layer_config", &[Empty]),
        ("vision_config", &[Empty]),
        ("audio_config", &[Empty]),
        ("text_config", &[Empty]),
        ("num_experts", &[Number(0.0)]),
        ("num_local_experts", &[Number(0.0)]),
        ("num_experts_per_tok", &[Number(0.0)]),
        ("n_routed_experts", &[Number(0.0)]),
        ("layer_types", &[All("full_attention"), Empty]),
        ("alibi", &[Flag(false)]),
        ("multi_query", &[Flag(false)]),
        // Factors and limits.
        ("attention_multiplier", &[]),
        ("embedding_multiplier", &[Number(1.0)]),
        ("residual_multiplier", &[Number(1.0)]),
        ("logits_scaling", &[Number(1.0)]),
        ("logit_scale", &[Number(1.0)]),
        ("scale_emb", &[Number(1.0)]),
        ("scale_depth", &[]),
        ("dim_model_base", &[]),
        ("mup_*", &[]),
        ("attn_logit_softcapping", &[]),
        ("final_logit_softcapping", &[]),
        ("query_pre_attn_scalar", &[]),
        ("clip_qkv", &[]),
        ("attn_temperature_tuning", &[Flag(false), Number(0.0)]),
        // Norms.
        ("use_qk_norm", &[Flag(false)]),
        ("qk_layernorm", &[Flag(false)]),
        ("qk_norm", &[Flag(false)]),
        // Positions and windows.
        ("no_rope_layers", &[Empty]),
        ("no_rope_layer_interval", &[Number(0.0)]),
        ("rope_interleaved", &[Flag(false)]),
        ("rope_local_base_freq", &[]),
        ("use_mrope", &[Flag(false)]),
        ("attention_chunk_size", &[]),
        ("sliding_window_pattern", &[]),
    ],
};

/// Keys of Llama. Its class of transformers has no window.
pub const LLAMA: Known = Known { harmless: &[], neutral: &[("use_sliding_window", &[Flag(false)])] };

/// Keys of Mistral, whose class has no biases.
pub const MISTRAL: Known = Known {
    harmless: &[],
    neutral: &[("attention_bias", &[Flag(false)]), ("mlp_bias", &[Flag(false)]), ("use_sliding_window", &[Flag(false)])],
};

/// Keys of Qwen 2. Its class has biases on q, k and v, whatever the file says.
pub const QWEN2: Known = Known { harmless: &["attention_bias"], neutral: &[("mlp_bias", &[Flag(false)])] };

/// Keys of Qwen 3.
pub const QWEN3: Known = Known { harmless: &[], neutral: &[("mlp_bias", &[Flag(false)])] };

/// Keys of GPT-2, early ones included.
pub const GPT2: Known = Known { harmless: &["n_ctx", "n_special", "predict_special_tokens"], neutral: &[] };

/// Keys of GPT-NeoX, early ones included.
pub const GPT_NEOX: Known = Known { harmless: &["attention_probs_dropout_prob", "hidden_dropout_prob"], neutral: &[] };

/// Keys of RoPE's settings. Keys that a kind of scaling does not use are not read for that kind.
pub const ROPE: Known = Known {
    harmless: &["finetuned"],
    neutral: &[
        ("attention_factor", &[Number(1.0)]),
        ("attn_factor", &[Number(1.0)]),
        ("mscale", &[Number(1.0)]),
        ("mscale_all_dim", &[Number(0.0)]),
        ("beta_fast", &[]),
        ("beta_slow", &[]),
        ("truncate", &[]),
        ("short_factor", &[]),
        ("long_factor", &[]),
        ("short_mscale", &[]),
        ("long_mscale", &[]),
        ("mrope_section", &[]),
        ("mrope_interleaved", &[Flag(false)]),
        ("low_freq_factor", &[]),
        ("high_freq_factor", &[]),
    ],
};
