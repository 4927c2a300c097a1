"""Weights that a training begins with, where it does not begin with random ones."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import torch
from torch import nn

from sllm_export.checkpoint import open_checkpoint
from sllm_export.checkpoint.bundle_weights import BundleWeights
from sllm_export.checkpoint.expected import (
    CONTEXT_BIAS,
    OPT_PREFIX,
    check_tensors,
    expected_shapes,
)
from sllm_export.checkpoint.state_dict import StateDict
from sllm_export.config import ModelConfig
from sllm_export.opt_directory import find_opt_weights, open_opt

_SVAE_NAMES = {"svae.": ""}
_OPT_NAMES = {
    "llm_pe.": f"{OPT_PREFIX}embed_positions.",
    "llm_layers.": f"{OPT_PREFIX}layers.",
}


class InitialWeights:
    """Checkpoints, and the name that each tensor of the model has there. What none of them has
    stays random."""

    def __init__(self, sources: Sequence[tuple[StateDict, Mapping[str, str]]]) -> None:
        self._sources = sources

    @classmethod
    def of_checkpoint(cls, config: ModelConfig, path: Path) -> InitialWeights:
        """All tensors of a model of the same configuration, from its checkpoint or its bundle; all
        but those of the context bias, if that has none. Raises CheckpointError that lists what does
        not fit it."""
        shapes = expected_shapes(config)
        checkpoint = BundleWeights(path) if path.is_dir() else open_checkpoint(path)
        bias = {name for name in shapes if CONTEXT_BIAS in name}
        if not bias & checkpoint.shapes.keys():
            shapes = {name: shape for name, shape in shapes.items() if name not in bias}
        check_tensors(checkpoint, shapes)
        return cls([(checkpoint, {name: name for name in shapes})])

    @classmethod
    def of_two_stages(cls, config: ModelConfig, svae: Path, opt: Path) -> InitialWeights:
        """All tensors of an SLLM but those of the stop head: an SVAE, and the layers of an OPT
        model. Raises CheckpointError likewise."""
        shapes = expected_shapes(config)
        coder = open_checkpoint(svae)
        coder_names = _renamed(shapes, _SVAE_NAMES)
        check_tensors(coder, {theirs: shapes[ours] for ours, theirs in coder_names.items()})
        backbone, _ = open_opt(find_opt_weights(opt))
        backbone_names = _renamed(shapes, _OPT_NAMES)
        # A backbone has no use for the rest: token embedding, projections, last norm, head.
        used = tuple(_OPT_NAMES.values())
        unused = frozenset(name for name in backbone.shapes if not name.startswith(used))
        wanted = {theirs: shapes[ours] for ours, theirs in backbone_names.items()}
        check_tensors(backbone, wanted, unused)
        return cls([(coder, coder_names), (backbone, backbone_names)])

    @torch.no_grad()
    def fill(self, model: nn.Module) -> None:
        """Copies the tensors into a model of the same configuration."""
        parameters = dict(model.named_parameters())
        for state_dict, names in self._sources:
            for ours, theirs in names.items():
                parameters[ours].copy_(torch.tensor(state_dict.load(theirs)))


def _renamed(names: Iterable[str], prefixes: dict[str, str]) -> dict[str, str]:
    """Those of our `names` that begin with a prefix, each with its name in the other file."""
    return {
        name: theirs + name.removeprefix(ours)
        for name in names
        for ours, theirs in prefixes.items()
        if name.startswith(ours)
    }
