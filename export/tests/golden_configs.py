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
