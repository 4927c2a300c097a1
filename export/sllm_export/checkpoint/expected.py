"""Which tensors a checkpoint of a configuration must hold, with their shapes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from sllm_export.checkpoint.state_dict import Shape, StateDict, Weights
from sllm_export.config import ModelConfig
from sllm_export.errors import CheckpointError

POSITION_OFFSET = 2
"""Rows of OPT's position table before position 0 (row = position + 2)."""

OPT_PREFIX = "model.decoder."
CONTEXT_BIAS = "context_bias."
"""What stands before the names of the context bias, below those of the decoder."""

Shapes = dict[str, Shape]


def expected_shapes(config: ModelConfig) -> Shapes:
    """Every tensor of the configuration's checkpoint, in the names of the original's files."""
    if config.kind == "opt":
        return opt_shapes(config)
    prefix = "" if config.kind == "svae" else "svae."
    shapes = _coder_shapes(config, f"{prefix}encoder.", decoder=False)
    shapes |= _coder_shapes(config, f"{prefix}decoder.", decoder=True)
    if config.kind == "sllm":
        backbone = config.require_backbone()
        hidden = config.hidden_size
        shapes["llm_pe.weight"] = (backbone.max_positions + POSITION_OFFSET, hidden)
        for layer in range(backbone.layers):
            shapes |= _opt_layer_shapes(f"llm_layers.{layer}.", hidden, backbone.ffn_size)
        shapes |= _linear("fc", 2, hidden)
    return shapes


def opt_shapes(config: ModelConfig) -> Shapes:
    """Tensors of a Hugging Face OPT checkpoint; the output projection is the tied embedding."""
    backbone = config.require_backbone()
    hidden, embed = config.hidden_size, backbone.word_embed_size
    assert embed is not None, "the schema requires word_embed_size of kind opt"
    prefix = OPT_PREFIX
    shapes: Shapes = {
        f"{prefix}embed_tokens.weight": (config.vocab_size, embed),
        f"{prefix}embed_positions.weight": (backbone.max_positions + POSITION_OFFSET, hidden),
    }
    if embed != hidden:
        shapes[f"{prefix}project_in.weight"] = (hidden, embed)
        shapes[f"{prefix}project_out.weight"] = (embed, hidden)
    if backbone.norm_first:
        shapes |= _norm(f"{prefix}final_layer_norm", hidden)
    for layer in range(backbone.layers):
        shapes |= _opt_layer_shapes(f"{prefix}layers.{layer}.", hidden, backbone.ffn_size)
    return shapes


def encoder_weights(config: ModelConfig, state_dict: StateDict) -> Weights:
    """The sentence encoder's tensors, under the names that both kinds of checkpoint share."""
    return Weights(state_dict, "encoder." if config.kind == "svae" else "svae.encoder.")


def decoder_weights(config: ModelConfig, state_dict: StateDict) -> Weights:
    """The sentence decoder's tensors, likewise."""
    return Weights(state_dict, "decoder." if config.kind == "svae" else "svae.decoder.")


def opt_weights(state_dict: StateDict) -> Weights:
    """The tensors of an OPT model."""
    return Weights(state_dict, OPT_PREFIX)


def check_tensors(
    state_dict: StateDict, expected: Mapping[str, Shape], ignored: frozenset[str] = frozenset()
) -> None:
    """Raises CheckpointError that lists every missing, misshapen and surplus tensor."""
    found = state_dict.shapes
    problems = [
        f"missing {name} (expected shape {_show(shape)})"
        for name, shape in expected.items()
        if name not in found
    ]
    problems += [
        f"{name} has shape {_show(found[name])} (expected {_show(shape)})"
        for name, shape in expected.items()
        if name in found and tuple(found[name]) != shape
    ]
    problems += [
        f"surplus {name} (found shape {_show(shape)})"
        for name, shape in found.items()
        if name not in expected and name not in ignored
    ]
    if problems:
        raise CheckpointError(state_dict.source, problems)


def check_finite(state_dict: StateDict, names: Iterable[str]) -> None:
    """Raises CheckpointError that lists every tensor with a value that is no finite number."""
    problems = []
    for name in names:
        if not np.isfinite(state_dict.load(name)).all():
            problems.append(f"{name} holds values that are not finite")
        state_dict.release()
    if problems:
        raise CheckpointError(state_dict.source, problems)


def _show(shape: Shape) -> str:
    return f"[{', '.join(map(str, shape))}]"


def _linear(name: str, rows: int, columns: int) -> Shapes:
    return {f"{name}.weight": (rows, columns), f"{name}.bias": (rows,)}


def _norm(name: str, size: int) -> Shapes:
    return {f"{name}.weight": (size,), f"{name}.bias": (size,)}


def _attention(name: str, hidden: int) -> Shapes:
    return {
        f"{name}.in_proj_weight": (3 * hidden, hidden),
        f"{name}.in_proj_bias": (3 * hidden,),
        **_linear(f"{name}.out_proj", hidden, hidden),
    }


def _coder_shapes(config: ModelConfig, prefix: str, decoder: bool) -> Shapes:
    svae, hidden = config.require_svae(), config.hidden_size
    shapes: Shapes = {f"{prefix}embed_token.weight": (config.vocab_size, svae.word_embed_size)}
    if svae.word_embed_size != hidden:
        shapes[f"{prefix}project_in.weight"] = (hidden, svae.word_embed_size)
    stack = f"{prefix}{'decoder' if decoder else 'encoder'}."
    for layer in range(svae.decoder_layers if decoder else svae.layers):
        name = f"{stack}layers.{layer}."
        shapes |= _attention(f"{name}self_attn", hidden)
        if decoder:
            shapes |= _attention(f"{name}multihead_attn", hidden)
            if svae.slots > 1:
                bias = (config.max_sentence_tokens, svae.slots + 1)
                shapes[f"{name}multihead_attn.position_bias"] = bias
        shapes |= _linear(f"{name}linear1", svae.ffn_size, hidden)
        shapes |= _linear(f"{name}linear2", hidden, svae.ffn_size)
        for norm in range(1, 4 if decoder else 3):
            shapes |= _norm(f"{name}norm{norm}", hidden)
    if svae.norm_first:
        shapes |= _norm(f"{stack}norm", hidden)
    if svae.slots > 1:
        shapes |= _slot_shapes(config, prefix, decoder)
    if decoder:
        shapes |= _linear(f"{prefix}linear", config.vocab_size, hidden)
        if size := svae.context_bias_size:
            name = f"{prefix}{CONTEXT_BIAS}"
            shapes[f"{name}query.weight"] = (size, hidden)
            shapes[f"{name}key"] = (config.vocab_size, size)
            shapes[f"{name}constant"] = (config.vocab_size,)
    else:
        if svae.learnable_add:
            shapes |= _linear(f"{prefix}la", 1, hidden)
        shapes |= _norm(f"{prefix}lnorm", hidden)
    return shapes


def _slot_shapes(config: ModelConfig, prefix: str, decoder: bool) -> Shapes:
    hidden, slots = config.hidden_size, config.require_svae().slots
    if decoder:
        name = f"{prefix}memory."
        return {
            **_norm(f"{name}norm", hidden),
            f"{name}whole.weight": (hidden, hidden),
            f"{name}linear.weight": (hidden, hidden // slots),
            f"{name}embedding": (slots + 1, hidden),
        }
    name = f"{prefix}pool."
    return {
        f"{name}query": (hidden,),
        f"{name}in_proj_weight": (2 * hidden, hidden),
        f"{name}in_proj_bias": (2 * hidden,),
        f"{name}position_bias": (config.max_sentence_tokens, slots),
    }


def _opt_layer_shapes(prefix: str, hidden: int, ffn_size: int) -> Shapes:
    shapes: Shapes = {}
    for name in ("q_proj", "k_proj", "v_proj", "out_proj"):
        shapes |= _linear(f"{prefix}self_attn.{name}", hidden, hidden)
    shapes |= _norm(f"{prefix}self_attn_layer_norm", hidden)
    shapes |= _linear(f"{prefix}fc1", ffn_size, hidden)
    shapes |= _linear(f"{prefix}fc2", hidden, ffn_size)
    shapes |= _norm(f"{prefix}final_layer_norm", hidden)
    return shapes
