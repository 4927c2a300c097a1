"""Models of kind `opt` as GGUF files of architecture GPT-2, for llama.cpp, which has no OPT.

The two differ in the activation only: GPT-2 has GELU, which takes the time of OPT's ReLU. All
matrices have the same shapes and the same random weights.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import gguf
import numpy as np

from peers.byte_level import MERGE, vocabulary
from peers.random_model import RandomModel
from peers.system import PeerError
from sllm_export.checkpoint.expected import POSITION_OFFSET, opt_weights
from sllm_export.checkpoint.state_dict import Floats
from sllm_export.config import ModelConfig

_NORM_EPSILON = 1e-5
_LAYER = {
    "self_attn_layer_norm": "attn_norm",
    "self_attn.out_proj": "attn_output",
    "final_layer_norm": "ffn_norm",
    "fc1": "ffn_up",
    "fc2": "ffn_down",
}
"""Parts of a layer, each of a weight and a bias: OPT's name, GGUF's name."""


def write_gguf(model: RandomModel, path: Path) -> None:
    """Write a model in fp32, as llama.cpp's converter names and orders GPT-2's tensors.

    Raises PeerError if GPT-2 has no such model: norms after the sublayers, or projections of the
    word embeddings.
    """
    _check(model.config)
    writer = gguf.GGUFWriter(path, "gpt2")
    _add_fields(writer, model.config)
    for name, tensor in tensors(model):
        writer.add_tensor(name, np.ascontiguousarray(tensor))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def tensors(model: RandomModel) -> Iterator[tuple[str, Floats]]:
    """Name and values of each tensor. The output projection is the tied embedding: it has none."""
    weights = opt_weights(model.weights())
    yield "token_embd.weight", weights["embed_tokens.weight"]
    yield "position_embd.weight", weights["embed_positions.weight"][POSITION_OFFSET:]
    for kind in ("weight", "bias"):
        yield f"output_norm.{kind}", weights[f"final_layer_norm.{kind}"]
    for layer in range(model.config.require_backbone().layers):
        own = weights.under(f"layers.{layer}.")
        for kind in ("weight", "bias"):
            parts = [own[f"self_attn.{part}_proj.{kind}"] for part in "qkv"]
            yield f"blk.{layer}.attn_qkv.{kind}", np.concatenate(parts)
            for name, found in _LAYER.items():
                yield f"blk.{layer}.{found}.{kind}", own[f"{name}.{kind}"]


def _check(config: ModelConfig) -> None:
    backbone = config.require_backbone()
    projected = backbone.word_embed_size != config.hidden_size
    if config.kind != "opt" or not backbone.norm_first or projected:
        raise PeerError(f"{config.name}: GPT-2 has no such layers")


def _add_fields(writer: gguf.GGUFWriter, config: ModelConfig) -> None:
    backbone, tokens = config.require_backbone(), config.tokens
    writer.add_name(config.name)
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    writer.add_context_length(backbone.max_positions)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(backbone.ffn_size)
    writer.add_block_count(backbone.layers)
    writer.add_head_count(backbone.heads)
    writer.add_layer_norm_eps(_NORM_EPSILON)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(vocabulary(config))
    types = [gguf.TokenType.NORMAL] * config.vocab_size
    for number in (tokens.pad, tokens.bos, tokens.eos):
        types[number] = gguf.TokenType.CONTROL
    writer.add_token_types(types)
    writer.add_token_merges([" ".join(MERGE)])
    writer.add_bos_token_id(tokens.bos)
    writer.add_eos_token_id(tokens.eos)
    writer.add_pad_token_id(tokens.pad)
    writer.add_add_bos_token(True)
