"""The prompt of token-level models."""

from __future__ import annotations

from peers.workload import Workload
from sllm_export.config import ModelConfig


def token_prompt(config: ModelConfig, workload: Workload) -> list[int]:
    """bos, then all tokens of the prompt."""
    ids = workload.prompt(config.vocab_size, config.tokens)
    return [config.tokens.bos, *ids.flatten().tolist()]
