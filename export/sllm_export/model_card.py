"""The generated MODEL_CARD.md of a bundle."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from sllm_export.config import ModelConfig
from sllm_export.variants import Variant

_KINDS = {
    "svae": "SentenceVAE: a sentence encoder and a sentence decoder",
    "sllm": "sentence-level language model: sentence encoder, backbone, sentence decoder",
    "opt": "token-level OPT language model, the baseline",
}
_MIB = 2**20


@dataclass(frozen=True)
class CardEntry:
    """One written graph: its size in bytes and its error against the checkpoint in numpy."""

    variant: Variant
    graph: str
    size: int
    error: float


def write_card(config: ModelConfig, manifest: dict[str, Any], entries: list[CardEntry]) -> str:
    """The card's text, in Markdown."""
    provenance = manifest["provenance"]
    lines = [f"# {config.name}", "", f"A {_KINDS[config.kind]}, for `sllm-ort`.", ""]
    if "random_seed" in provenance["checkpoint"]:
        lines += [
            "**The weights are random.** This bundle has the shapes of the model, for speed tests "
            "and checks; it was never trained and its text means nothing.",
            "",
        ]
    lines += ["## Provenance", "", *_provenance(provenance), ""]
    lines += ["## Variants", "", *_variants(entries), ""]
    if config.kind == "sllm" and config.require_backbone().prefill_attention == "bidirectional":
        lines += [
            "## Perplexity",
            "",
            "In prefill each sentence of the prompt attends to the later ones too, as in training. "
            "A perplexity computed that way is measured while the model sees the sentence that it "
            "is asked to predict.",
            "",
        ]
    shown = json.dumps(config.raw, indent=2, ensure_ascii=False)
    lines += ["## Configuration", "", "```json", shown, "```", ""]
    return "\n".join(lines)


def _provenance(provenance: dict[str, Any]) -> list[str]:
    checkpoint = provenance["checkpoint"]
    if "random_seed" in checkpoint:
        origin = f"Random weights, seed {checkpoint['random_seed']}"
    else:
        origin = f"Checkpoint: `{checkpoint['file']}`, SHA-256 `{checkpoint['sha256']}`"
    lines = [f"- {origin}", f"- Exported by sllm_export {provenance['exporter_version']}"]
    if "data" in provenance:
        lines.append(f"- Training data: {provenance['data']}")
    return lines


def _variants(entries: list[CardEntry]) -> list[str]:
    lines = [
        "The error is that of one run in ONNX Runtime against a float32 evaluation of the same "
        "weights: root mean square of the difference over that of the value.",
        "",
        "| variant | precision | graph | MiB | error | providers |",
        "|---|---|---|---:|---:|---|",
    ]
    for entry in entries:
        variant = entry.variant
        lines.append(
            f"| {variant.name} | {variant.precision_name} | {entry.graph} "
            f"| {entry.size / _MIB:.2f} | {entry.error:.1e} | {', '.join(variant.providers)} |"
        )
    return lines
