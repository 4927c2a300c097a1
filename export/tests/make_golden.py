"""Makes tests/golden at the repository's root: tiny checkpoints, expected numbers, bundles.

    PYTHONPATH=export python export/tests/make_golden.py

Needs PyTorch. The bundles come from the exporter, the numbers do not; see `golden_cases.py`.
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import golden_configs as configs
import numpy as np
import torch
from golden_cases import numbers, opt_case, sllm_case, svae_case
from golden_text import tiny_tokenizer
from helpers import choosing
from mmengine_file import save_mmengine
from safetensors.torch import save_file
from torch import nn

from sllm_export.cli import main as export
from sllm_export.config import ModelConfig, parse_config
from sllm_export.variants import VARIANTS

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Golden:
    """A model of tests/golden; its checkpoint is as the original's training saves it, or else a
    `.safetensors` file. Some have a second bundle, whose graphs choose the best tokens, and one in
    float16."""

    raw: dict[str, Any]
    bundle: str
    segmentation: str = "drop-truncate"
    mmengine: bool = False
    fast_bundle: str = ""
    half_bundle: str = ""


MODELS = (
    Golden(
        configs.CAUSAL, "bundle", "keep-split", fast_bundle="bundle-fast", half_bundle="bundle-half"
    ),
    Golden(configs.SLOTS, "bundle-slots", "keep-split"),
    Golden(configs.CONTEXT_BIAS, "bundle-context-bias", "keep-split"),
    Golden(configs.ORIGINAL, "bundle-original", half_bundle="bundle-original-half"),
    Golden(configs.PRE_NORM, "bundle-125m", mmengine=True),
    Golden(configs.PRE_NORM_ADD, "bundle-125m-add"),
    Golden(configs.POST_NORM, "bundle-350m", mmengine=True),
    Golden(configs.SVAE, "bundle-svae", mmengine=True),
    Golden(
        configs.OPT,
        "bundle-opt",
        "keep-split",
        fast_bundle="bundle-opt-fast",
        half_bundle="bundle-opt-half",
    ),
    Golden(configs.OPT_POST, "bundle-opt-post", "keep-split"),
)
CASES: dict[str, Callable[[ModelConfig], tuple[nn.Module, dict[str, Any]]]] = {
    "svae": svae_case,
    "sllm": sllm_case,
    "opt": opt_case,
}


def write_case(golden: Golden, out: Path) -> None:
    """Writes config, checkpoint, expected numbers and bundle of one model."""
    raw = golden.raw
    folder = out / raw["name"]
    folder.mkdir(parents=True)
    config = parse_config(raw)
    model, expected = CASES[config.kind](config)
    tensors = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    checkpoint = folder / ("checkpoint.pth" if golden.mmengine else "checkpoint.safetensors")
    (save_mmengine if golden.mmengine else save_file)(tensors, checkpoint)
    (folder / "config.json").write_text(json.dumps(raw, indent=2) + "\n", encoding="utf-8")
    text = json.dumps(expected, separators=(",", ":"), ensure_ascii=False)
    (folder / "expected.json").write_text(text + "\n", encoding="utf-8")
    write_bundle(golden, checkpoint, out / golden.bundle)
    if golden.fast_bundle:
        with patch("sllm_export.variants.VARIANTS", tuple(map(choosing, VARIANTS))):
            write_bundle(golden, checkpoint, out / golden.fast_bundle, "cpu-int8")
    if golden.half_bundle:
        write_bundle(golden, checkpoint, out / golden.half_bundle, "cuda-fp16")


def write_bundle(golden: Golden, checkpoint: Path, bundle: Path, *variants: str) -> None:
    """Calls the exporter for the usual variants or those named."""
    folder = checkpoint.parent
    arguments = ["bundle", "--config", str(folder / "config.json")]
    arguments += ["--checkpoint", str(checkpoint), "--out", str(bundle)]
    arguments += ["--tokenizer", str(folder.parent / "tokenizer.json")]
    arguments += ["--segmentation", golden.segmentation]
    for variant in variants:
        arguments += ["--variant", variant]
    if export(arguments):
        raise SystemExit(f"{bundle.name}: the exporter failed")


class MessageHub:
    """Stands for what training frameworks pickle beside the weights."""


def write_torch_file(folder: Path) -> None:
    """A `.pth` with all that a reader has to cope with, and its tensors as numbers."""
    folder.mkdir(exist_ok=True)
    torch.manual_seed(0)
    base = torch.randn(4, 6)
    state: OrderedDict[str, Any] = OrderedDict(
        plain=base[:2].clone(),
        shared_rows=base[2:],
        transposed=base.t(),
        strided=base[:, 1::2],
        parameter=torch.nn.Parameter(torch.randn(3)),
        half=torch.randn(5).half(),
        bfloat=torch.randn(2, 3).bfloat16(),
        double=torch.randn(2).double(),
        scalar=torch.tensor(1.5),
        empty=torch.zeros(0, 3),
    )
    state._metadata = OrderedDict(version=1)  # type: ignore[attr-defined]
    hub = MessageHub()
    hub.history = [np.float64(0.5), np.arange(3), {"lr": {1, 2}}]  # type: ignore[attr-defined]
    top = {"meta": {"epoch": 3, "seed": torch.Size([1])}, "message_hub": hub}
    optimizer = {"state": {0: {"step": torch.tensor(7)}}}
    torch.save({**top, "state_dict": state, "optimizer": optimizer}, folder / "mixed.pth")
    values = {name: numbers(tensor.float()) for name, tensor in state.items()}
    text = json.dumps(values, separators=(",", ":"))
    (folder / "mixed.json").write_text(text + "\n", encoding="utf-8")


def make_new(out: Path) -> None:
    """Empties the directory of all but its README, and writes what all models share."""
    readme = out / "README.md"
    kept = readme.read_text(encoding="utf-8") if readme.exists() else None
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    if kept is not None:
        readme.write_text(kept, encoding="utf-8")
    tiny_tokenizer().save(str(out / "tokenizer.json"))
    write_torch_file(Path(__file__).parent / "data")


def main() -> None:
    parser = argparse.ArgumentParser(description="Makes tests/golden.")
    parser.add_argument("--out", type=Path, default=ROOT / "tests" / "golden")
    names = [golden.raw["name"] for golden in MODELS]
    parser.add_argument("--model", action="append", choices=names, help="make only this one again")
    arguments = parser.parse_args()
    out: Path = arguments.out
    torch.set_num_threads(1)
    if not arguments.model:
        make_new(out)
    for golden in MODELS:
        name = golden.raw["name"]
        if arguments.model and name not in arguments.model:
            continue
        for folder in filter(None, (name, golden.bundle, golden.fast_bundle, golden.half_bundle)):
            shutil.rmtree(out / folder, ignore_errors=True)
        write_case(golden, out)


if __name__ == "__main__":
    main()
