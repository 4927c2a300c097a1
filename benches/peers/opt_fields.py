"""A configuration of ours in the words of Hugging Face's OPTConfig."""

from __future__ import annotations

from typing import Any

from sllm_export.config import ModelConfig


def opt_fields(config: ModelConfig) -> dict[str, Any]:
    """Fields of OPTConfig for a model of kind opt, or for the backbone of an sllm."""
    backbone = config.require_backbone()
    return {
        "vocab_size": config.vocab_size,
        "hidden_size": config.hidden_size,
        "word_embed_proj_dim": backbone.word_embed_size or config.hidden_size,
        "num_hidden_layers": backbone.layers,
        "num_attention_heads": backbone.heads,
        "ffn_dim": backbone.ffn_size,
        "max_position_embeddings": backbone.max_positions,
        "do_layer_norm_before": backbone.norm_first,
        "bos_token_id": config.tokens.bos,
        "eos_token_id": config.tokens.eos,
        "pad_token_id": config.tokens.pad,
    }
