"""Models of random weights, read from a bundle and written as a Hugging Face directory.

The peers draw the weights as the exporter drew them for the bundle, so all systems have the same.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from safetensors.numpy import save_file

from peers.system import PeerError
from peers.workload import Workload
from sllm_export.checkpoint.expected import expected_shapes
from sllm_export.checkpoint.random_weights import RandomStateDict
from sllm_export.config import ModelConfig, Tokens, parse_config
from sllm_export.errors import ConfigError


@dataclass(frozen=True)
class RandomModel:
    """A configuration and the seed of its random weights."""

    config: ModelConfig
    seed: int

    @classmethod
    def of_bundle(cls, folder: Path) -> RandomModel:
        """Read the manifest of a bundle.

        Raises PeerError if there is no manifest, or if the weights are not random.
        """
        path = folder / "sllm.json"
        try:
            manifest = json.loads(path.read_text(encoding="utf-8"))
            seed = manifest["provenance"]["checkpoint"]["random_seed"]
            return cls(parse_config(manifest["model"], str(path)), seed)
        except OSError as error:
            raise PeerError(f"{path}: cannot be read: {error.strerror}") from error
        except ConfigError as error:
            raise PeerError(str(error)) from error
        except (KeyError, TypeError, ValueError) as error:
            raise PeerError(f"{path}: is not a bundle of random weights: {error!r}") from error

    @classmethod
    def of_json(cls, value: dict[str, Any]) -> RandomModel:
        """The reverse of `to_json`."""
        return cls(parse_config(value["config"]), value["seed"])

    def to_json(self) -> dict[str, Any]:
        """The model as a JSON object, for another process."""
        return {"config": self.config.raw, "seed": self.seed}

    def weights(self) -> RandomStateDict:
        """The weights, drawn as the exporter draws them."""
        return RandomStateDict(expected_shapes(self.config), self.seed)


@dataclass(frozen=True)
class Task:
    """What a worker measures: a model, the work of a round, and an empty folder for its files."""

    model: RandomModel
    workload: Workload
    folder: Path

    def to_json(self) -> dict[str, Any]:
        """The task as a JSON object, for the worker."""
        return {
            "model": self.model.to_json(),
            "workload": asdict(self.workload),
            "folder": str(self.folder),
        }

    @classmethod
    def of_json(cls, value: dict[str, Any]) -> Task:
        """The reverse of `to_json`."""
        return cls(
            RandomModel.of_json(value["model"]),
            Workload(**value["workload"]),
            Path(value["folder"]),
        )


def opt_fields(config: ModelConfig) -> dict[str, Any]:
    """Fields of Hugging Face's OPTConfig, for a model of kind opt or the backbone of an sllm."""
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


def write_opt_directory(model: RandomModel, folder: Path) -> None:
    """Write configuration, weights (fp32) and a tokenizer of invented words, for converters."""
    folder.mkdir(parents=True)
    weights = model.weights()
    tensors = {name: weights.load(name) for name in weights.shapes}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    _write(folder / "config.json", _config(model.config))
    _write(folder / "tokenizer.json", _tokenizer(model.config))
    _write(folder / "tokenizer_config.json", _tokenizer_config(model.config.tokens))


def words(config: ModelConfig) -> list[str]:
    """The word of each id: converters need a vocabulary of strings."""
    found = [f"w{number}" for number in range(config.vocab_size)]
    found[config.tokens.pad] = "<pad>"
    found[config.tokens.bos] = "<s>"
    # bos and eos of OPT are the same id.
    found[config.tokens.eos] = "</s>"
    return found


def _config(config: ModelConfig) -> dict[str, Any]:
    kind = {"architectures": ["OPTForCausalLM"], "model_type": "opt", "dtype": "float32"}
    return kind | opt_fields(config)


def _tokenizer(config: ModelConfig) -> dict[str, Any]:
    found = words(config)
    vocabulary = {word: number for number, word in enumerate(found)}
    eos = found[config.tokens.eos]
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [],
        "normalizer": None,
        "pre_tokenizer": {"type": "WhitespaceSplit"},
        "post_processor": None,
        "decoder": None,
        "model": {"type": "WordLevel", "vocab": vocabulary, "unk_token": eos},
    }


def _tokenizer_config(tokens: Tokens) -> dict[str, str]:
    bos = "</s>" if tokens.bos == tokens.eos else "<s>"
    special = {"bos_token": bos, "eos_token": "</s>", "unk_token": "</s>", "pad_token": "<pad>"}
    return {"tokenizer_class": "PreTrainedTokenizerFast"} | special


def _write(path: Path, value: dict[str, Any]) -> None:
    path.write_text(json.dumps(value), encoding="utf-8")
