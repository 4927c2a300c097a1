"""Model configuration: the JSON schema shared with the Rust side, read strictly.

| key | svae | sllm | opt |
|---|---|---|---|
| name, kind, vocab_size, hidden_size, tokens | required | required | required |
| max_sentence_tokens, svae | required | required | tokens optional, no svae |
| max_sentences, reencode_bos | optional | required | optional |
| reencode_mask | optional | optional | optional |
| backbone | - | required | required |
| backbone.prefill_attention | - | required | optional, "causal" only |
| backbone.word_embed_size | - | - | required |

No other key is allowed. What a kind has no use for but may have (column "optional") keeps one
file's shape when a model is cut down to its sentence coder. An opt model is token-level and
causal; its longest text is `backbone.max_positions` tokens.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

from sllm_export.config_fields import Fields
from sllm_export.errors import ConfigError

Kind = Literal["svae", "sllm", "opt"]
PrefillAttention = Literal["causal", "bidirectional"]

KINDS: tuple[Kind, ...] = ("svae", "sllm", "opt")
MAX_CONFIG_BYTES = 2**20
MAX_NAME_BYTES = 128
MAX_VOCAB_SIZE = 2**20
MAX_HIDDEN_SIZE = 2**16
MAX_FFN_SIZE = 2**18
MAX_LAYERS = 1024
MAX_SLOTS = 1024
MIN_SENTENCE_TOKENS = 2
MAX_SENTENCE_TOKENS = 2**16
MAX_POSITIONS = 2**20
_SHOWN_CHARACTERS = 80


@dataclass(frozen=True)
class Tokens:
    """Ids of the special tokens, each in 0 .. vocab_size - 1."""

    bos: int
    eos: int
    pad: int


@dataclass(frozen=True)
class SvaeConfig:
    """Encoder of `layers`, decoder of `decoder_layers`, FFN of `ffn_size`, token embeddings of
    `word_embed_size` channels (projected to the hidden size when it differs).

    With one slot the encoder sums token states and the decoder attends to the whole vector, as in
    the paper. With more, attention pools the token states into `slots` parts of the vector, and
    the decoder attends to as many memory entries. `norm_first` is pre-norm. With a
    `context_bias_size` the logits of tokens that the context has gain a learned bias.
    """

    layers: int
    heads: int
    ffn_size: int
    word_embed_size: int
    learnable_add: bool
    norm_first: bool
    slots: int
    decoder_layers: int
    context_bias_size: int


@dataclass(frozen=True)
class BackboneConfig:
    """OPT decoder layers; `norm_first` is OPT's `do_layer_norm_before`."""

    layers: int
    heads: int
    ffn_size: int
    norm_first: bool
    max_positions: int
    prefill_attention: PrefillAttention
    word_embed_size: int | None


@dataclass(frozen=True)
class ModelConfig:
    """One model. Limits that the kind does not have are 0; `raw` is the JSON object as given,
    which the bundle's manifest repeats."""

    name: str
    kind: Kind
    vocab_size: int
    hidden_size: int
    tokens: Tokens
    max_sentence_tokens: int
    max_sentences: int
    svae: SvaeConfig | None
    backbone: BackboneConfig | None
    reencode_bos: bool
    reencode_mask: bool
    raw: dict[str, Any]

    def require_svae(self) -> SvaeConfig:
        """The `svae` section, for code that runs only for kinds svae and sllm."""
        assert self.svae is not None, "kind opt has no svae section"
        return self.svae

    def require_backbone(self) -> BackboneConfig:
        """The `backbone` section, for code that runs only for kinds sllm and opt."""
        assert self.backbone is not None, "kind svae has no backbone section"
        return self.backbone


def load_config(path: Path) -> ModelConfig:
    """Reads a configuration file. Raises ConfigError with every problem found."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_CONFIG_BYTES + 1)
    except OSError as error:
        raise ConfigError(str(path), [f"cannot be read: {error.strerror}"]) from error
    if len(data) > MAX_CONFIG_BYTES:
        raise ConfigError(str(path), [f"is longer than {MAX_CONFIG_BYTES} bytes"])
    try:
        raw = json.loads(data, object_pairs_hook=_unique_keys, parse_constant=_no_constant)
        return parse_config(raw, str(path))
    except (ValueError, RecursionError) as error:
        raise ConfigError(str(path), [f"is not valid JSON: {error}"]) from error


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = [name for name, _ in pairs]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"key given twice: {', '.join(map(json.dumps, twice))}")
    return dict(pairs)


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not a JSON value")


def parse_config(raw: Any, source: str = "configuration") -> ModelConfig:
    """Checks a decoded JSON value against the schema; `source` names it in errors."""
    other = _other_file(raw)
    if other:
        raise ConfigError(source, [other])
    problems: list[str] = []
    f = Fields(raw, "", problems)
    name = f.label("name", MAX_NAME_BYTES)
    kind = cast(Kind, f.choice("kind", KINDS))
    vocab_size = f.integer("vocab_size", 1, MAX_VOCAB_SIZE)
    hidden_size = f.integer("hidden_size", 1, MAX_HIDDEN_SIZE)
    tokens = _parse_tokens(f.section("tokens"), vocab_size)
    if not kind:
        raise ConfigError(source, problems)
    sentences = kind != "opt"
    max_sentence_tokens = max_sentences = 0
    if sentences or "max_sentence_tokens" in f:
        max_sentence_tokens = f.integer(
            "max_sentence_tokens", MIN_SENTENCE_TOKENS, MAX_SENTENCE_TOKENS
        )
    if kind == "sllm" or "max_sentences" in f:
        max_sentences = f.integer("max_sentences", 1, MAX_POSITIONS)
    reencode_bos = (kind == "sllm" or "reencode_bos" in f) and f.boolean("reencode_bos")
    reencode_mask = f.boolean("reencode_mask") if "reencode_mask" in f else reencode_bos
    if reencode_bos and raw.get("reencode_mask") is False:
        f.problem("reencode_mask", False, "true where reencode_bos is true")
    svae = _parse_svae(f.section("svae"), hidden_size) if sentences else None
    backbone = None
    if kind != "svae":
        backbone = _parse_backbone(f.section("backbone"), kind, hidden_size)
        if backbone.max_positions and max_sentences > backbone.max_positions:
            allowed = f"at most backbone.max_positions, which is {backbone.max_positions}"
            f.problem("max_sentences", max_sentences, allowed)
    parts = {"svae": "svae", "sllm": "svae, backbone", "opt": "backbone"}[kind]
    f.finish(
        "name, kind, vocab_size, hidden_size, tokens, max_sentence_tokens, max_sentences, "
        f"reencode_bos, reencode_mask, {parts} in a model of kind {kind}"
    )
    if problems:
        raise ConfigError(source, problems)
    return ModelConfig(
        name=name,
        kind=kind,
        vocab_size=vocab_size,
        hidden_size=hidden_size,
        tokens=tokens,
        max_sentence_tokens=max_sentence_tokens,
        max_sentences=max_sentences,
        svae=svae,
        backbone=backbone,
        reencode_bos=reencode_bos,
        reencode_mask=reencode_mask,
        raw=raw,
    )


def _other_file(raw: Any) -> str | None:
    """What a file is that was taken for a configuration, and what to give in its place."""
    if not isinstance(raw, dict) or "kind" in raw:
        return None
    if "format_version" in raw and "model" in raw:
        return "is a bundle's manifest (expected a configuration: its key `model` holds one)"
    if "model_type" in raw or "architectures" in raw:
        kind = json.dumps(raw.get("model_type"))[:_SHOWN_CHARACTERS]
        return (
            f"is a configuration of transformers, model_type {kind} (expected one of ours, such as "
            "configs/opt-125m.json; --opt takes the directory of this one)"
        )
    if "added_tokens" in raw and "model" in raw:
        return "is a tokenizer (expected a configuration; --tokenizer takes this file)"
    if "weight_map" in raw:
        return "is the index of a checkpoint (expected a configuration; --checkpoint takes this)"
    return None


def _parse_tokens(f: Fields, vocab_size: int) -> Tokens:
    high = (vocab_size or MAX_VOCAB_SIZE) - 1
    tokens = Tokens(*(f.integer(key, 0, high) for key in ("bos", "eos", "pad")))
    f.finish("bos, eos, pad")
    return tokens


def _check_divides(f: Fields, key: str, value: int, hidden_size: int) -> None:
    if value and hidden_size and hidden_size % value:
        f.problem(key, value, f"a divisor of hidden_size, which is {hidden_size}")


def _parse_svae(f: Fields, hidden_size: int) -> SvaeConfig:
    layers = f.integer("layers", 1, MAX_LAYERS)
    deeper = "decoder_layers" in f
    svae = SvaeConfig(
        layers=layers,
        heads=f.integer("heads", 1, MAX_HIDDEN_SIZE),
        ffn_size=f.integer("ffn_size", 1, MAX_FFN_SIZE),
        word_embed_size=f.integer("word_embed_size", 1, MAX_HIDDEN_SIZE),
        learnable_add=f.boolean("learnable_add"),
        norm_first="norm_first" in f and f.boolean("norm_first"),
        slots=f.integer("slots", 1, MAX_SLOTS) if "slots" in f else 1,
        decoder_layers=f.integer("decoder_layers", 1, MAX_LAYERS) if deeper else layers,
        context_bias_size=(
            f.integer("context_bias_size", 0, MAX_HIDDEN_SIZE) if "context_bias_size" in f else 0
        ),
    )
    _check_divides(f, "heads", svae.heads, hidden_size)
    _check_divides(f, "slots", svae.slots, hidden_size)
    if svae.slots > 1 and svae.learnable_add:
        f.problem("learnable_add", True, "false where slots is above 1")
    f.finish(
        "layers, heads, ffn_size, word_embed_size, learnable_add, norm_first, slots, "
        "decoder_layers, context_bias_size"
    )
    return svae


def _parse_backbone(f: Fields, kind: Kind, hidden_size: int) -> BackboneConfig:
    opt = kind == "opt"
    prefill: PrefillAttention = "causal"
    if not opt:
        prefill = cast(PrefillAttention, f.choice("prefill_attention", ("causal", "bidirectional")))
    elif "prefill_attention" in f:
        f.choice("prefill_attention", ("causal",))
    backbone = BackboneConfig(
        layers=f.integer("layers", 1, MAX_LAYERS),
        heads=f.integer("heads", 1, MAX_HIDDEN_SIZE),
        ffn_size=f.integer("ffn_size", 1, MAX_FFN_SIZE),
        norm_first=f.boolean("norm_first"),
        max_positions=f.integer("max_positions", 1, MAX_POSITIONS),
        prefill_attention=prefill,
        word_embed_size=f.integer("word_embed_size", 1, MAX_HIDDEN_SIZE) if opt else None,
    )
    _check_divides(f, "heads", backbone.heads, hidden_size)
    f.finish(
        "layers, heads, ffn_size, norm_first, max_positions, prefill_attention"
        + (f", word_embed_size in a model of kind {kind}" if opt else f" in kind {kind}")
    )
    return backbone
