"""Configurations of the golden models."""

from __future__ import annotations

from typing import Any

from golden_text import BOS, EOS, PAD, VOCAB_SIZE

TOKENS = {"bos": BOS, "eos": EOS, "pad": PAD}

CAUSAL: dict[str, Any] = {
    "name": "tiny-causal",
    "kind": "sllm",
    "vocab_size": VOCAB_SIZE,
    "hidden_size": 32,
    "max_sentence_tokens": 24,
    "max_sentences": 12,
    "tokens": TOKENS,
    "svae": {
        "layers": 2,
        "heads": 4,
        "ffn_size": 64,
        "word_embed_size": 32,
        "learnable_add": False,
    },
    "backbone": {
        "layers": 2,
        "heads": 4,
        "ffn_size": 64,
        "norm_first": True,
        "max_positions": 16,
        "prefill_attention": "causal",
    },
    "reencode_bos": True,
}
ORIGINAL: dict[str, Any] = {
    **CAUSAL,
    "name": "tiny-original",
    "hidden_size": 16,
    "svae": {
        "layers": 1,
        "heads": 2,
        "ffn_size": 32,
        "word_embed_size": 8,
        "learnable_add": True,
    },
    "backbone": {
        "layers": 2,
        "heads": 2,
        "ffn_size": 32,
        "norm_first": False,
        "max_positions": 16,
        "prefill_attention": "bidirectional",
    },
    "reencode_bos": False,
    "reencode_mask": True,
}
PRE_NORM: dict[str, Any] = {
    **ORIGINAL,
    "name": "tiny-125m",
    # Shorter than the longest sentence of the text, which is truncated.
    "max_sentence_tokens": 16,
    "svae": {**ORIGINAL["svae"], "word_embed_size": 16, "learnable_add": False},
    "backbone": {**ORIGINAL["backbone"], "norm_first": True},
}
PRE_NORM_ADD: dict[str, Any] = {
    **PRE_NORM,
    "name": "tiny-125m-add",
    "max_sentence_tokens": 24,
    "svae": {**PRE_NORM["svae"], "learnable_add": True},
}
POST_NORM: dict[str, Any] = {
    **ORIGINAL,
    "name": "tiny-350m",
    # Fewer than the text has, so that the context is full before the end.
    "max_sentences": 6,
    "svae": {**ORIGINAL["svae"], "learnable_add": False},
}
ONE_LAYER: dict[str, Any] = {
    "layers": 1,
    "heads": 2,
    "ffn_size": 32,
    "word_embed_size": 16,
    "learnable_add": False,
    "norm_first": True,
}
SLOTS: dict[str, Any] = {
    **CAUSAL,
    "name": "tiny-slots",
    "hidden_size": 16,
    "svae": {
        **ONE_LAYER,
        "slots": 4,
        "decoder_layers": 2,
    },
    "backbone": {**CAUSAL["backbone"], "layers": 1, "heads": 2, "ffn_size": 32},
}
CONTEXT_BIAS: dict[str, Any] = {
    **SLOTS,
    "name": "tiny-context-bias",
    "svae": {
        **ONE_LAYER,
        "context_bias_size": 8,
    },
}
SVAE: dict[str, Any] = {
    "name": "tiny-svae",
    "kind": "svae",
    "vocab_size": VOCAB_SIZE,
    "hidden_size": 16,
    "max_sentence_tokens": 24,
    "tokens": TOKENS,
    "svae": {**PRE_NORM["svae"], "layers": 2},
}
OPT: dict[str, Any] = {
    "name": "tiny-opt",
    "kind": "opt",
    "vocab_size": VOCAB_SIZE,
    "hidden_size": 16,
    "tokens": TOKENS,
    "backbone": {
        "layers": 2,
        "heads": 2,
        "ffn_size": 32,
        "norm_first": True,
        "max_positions": 48,
        "word_embed_size": 8,
    },
}
OPT_POST: dict[str, Any] = {
    **OPT,
    "name": "tiny-opt-post",
    "backbone": {**OPT["backbone"], "norm_first": False},
}
