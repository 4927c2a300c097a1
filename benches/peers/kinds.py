"""The systems there are."""

from __future__ import annotations

from typing import NamedTuple

from peers.system import Level


class Kind(NamedTuple):
    """What a system's model predicts, and what runs it; see `peers.system.Description`."""

    level: Level
    runtime: str
    precision: str
    ours: bool = False


KINDS = {
    "sllm-ort-sllm": Kind("sentences", "sllm-ort", "int8", ours=True),
    "sllm-ort-sllm-int4": Kind("sentences", "sllm-ort", "int4", ours=True),
    "sllm-ort-opt": Kind("tokens", "sllm-ort", "int8", ours=True),
    "ctranslate2-opt": Kind("tokens", "CTranslate2", "int8"),
    "transformers-opt": Kind("tokens", "Transformers", "fp32"),
    "pytorch-sllm": Kind("sentences", "PyTorch as the original", "fp32"),
}
NAMES = tuple(KINDS)
