"""Makes tests/golden at the repository's root: tiny checkpoints, expected numbers, bundles.

    PYTHONPATH=export python export/tests/make_golden.py

Needs PyTorch. The numbers come from `golden_model.py` and never from the exporter; the bundles
come from the exporter. The models are trained for a few seconds on one short text, so that
sentences end by themselves and no greedy choice is so close that rounding could turn it.
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from golden_configs import CAUSAL, OPT, ORIGINAL
from golden_model import Opt, Sllm
from golden_text import BOS, EOS, PAD, PROMPT, STORY, tiny_tokenizer
from safetensors.torch import save_file
from torch import Tensor
from torch.nn.functional import cross_entropy

from sllm_export.cli import main as export
from sllm_export.config import ModelConfig, parse_config

ROOT = Path(__file__).resolve().parents[2]
TOLERANCE = 1e-4
MIN_MARGIN = 0.5
SEED = 0
SLLM_STEPS = 400
OPT_STEPS = 200
PREFILL = 3
NEW_SENTENCES = {"tiny-causal": 6, "tiny-original": 2}

BUNDLES = {
    "tiny-causal": ("bundle", "keep-split"),
    "tiny-original": ("bundle-original", "drop-truncate"),
    "tiny-opt": ("bundle-opt", "keep-split"),
}


def numbers(values: Tensor) -> Any:
    """Nested lists with six significant digits, which is below the tolerance."""
    flat = [float(f"{value:.6g}") for value in values.detach().flatten().tolist()]
    return np.array(flat).reshape(values.shape).tolist()


def choose(logits: Tensor) -> int:
    """The best of the logits [V], which no rounding can turn: the second best must be far."""
    best = logits.topk(2).values
    if best[0] - best[1] < MIN_MARGIN:
        raise SystemExit(f"a choice with margin {best[0] - best[1]:.3f}: train longer")
    return int(logits.argmax())


def padded(rows: list[list[int]]) -> tuple[Tensor, Tensor]:
    """Ids and mask [B, longest row]."""
    longest = max(map(len, rows))
    ids = torch.tensor([row + [PAD] * (longest - len(row)) for row in rows])
    mask = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in rows])
    return ids, mask


def train(model: torch.nn.Module, loss: Callable[[], Tensor], steps: int) -> None:
    """A little training, so that greedy choices are clear ones."""
    optimizer = torch.optim.Adam(model.parameters(), lr=4e-3)
    for _ in range(steps):
        optimizer.zero_grad()
        loss().backward()
        optimizer.step()
    model.requires_grad_(False)


def train_sllm(model: Sllm, rows: list[list[int]], prompt: int) -> None:
    """Teaches to repeat each sentence, to give the next one, and when to stop."""
    ids, mask = padded(rows)
    again = rows if model.config.reencode_bos else [*rows[:prompt], *map(raw_output, rows[prompt:])]
    seen, seen_mask = padded(again)
    target = torch.where(mask == 1, ids, -100)[:, 1:]
    ends = mask.sum(dim=1)
    target = torch.cat([target, torch.full((len(rows), 1), -100)], dim=1)
    target[torch.arange(len(rows)), ends - 1] = EOS
    stop = torch.ones(len(rows), dtype=torch.long)
    stop[-1] = 0

    def loss() -> Tensor:
        vectors = model.svae.encoder(ids, mask)
        context = model.svae.encoder(seen, seen_mask)
        hidden, stop_logits = model.run_backbone(context[None], prompt)
        first = prompt - 1
        repeated = model.svae.decoder(ids, vectors).transpose(1, 2)
        following = model.svae.decoder(ids[first + 1 :], hidden[0, first:-1]).transpose(1, 2)
        return (
            cross_entropy(repeated, target)
            + cross_entropy(following, target[first + 1 :])
            + cross_entropy(stop_logits[0, first:], stop[first:])
        )

    train(model, loss, SLLM_STEPS)


def raw_output(row: list[int]) -> list[int]:
    """What the decoder emits for a sentence: no bos, with eos."""
    return [*row[1:], EOS]


def decode_greedily(model: Sllm, sentence: Tensor) -> list[int]:
    """Ids the decoder emits for a sentence vector [1, D], with the final eos."""
    ids: list[int] = []
    while EOS not in ids:
        if len(ids) + 2 >= model.config.max_sentence_tokens:
            raise SystemExit("a sentence without end: train longer")
        logits = model.svae.decoder(torch.tensor([[BOS, *ids]]), sentence)
        ids.append(choose(logits[0, -1]))
    return ids


def generate(model: Sllm, prompt: list[list[int]]) -> dict[str, Any]:
    """The whole loop on prompt sentences (ids with bos)."""
    vectors = torch.cat([model.svae.encoder(*padded([ids])) for ids in prompt])[None]
    sentences: list[dict[str, Any]] = []
    reason = "max_sentences"
    for _ in range(NEW_SENTENCES[model.config.name]):
        hidden, stop = model.run_backbone(vectors, len(prompt))
        if choose(stop[0, -1]) == 0:
            reason = "stop"
            break
        ids = decode_greedily(model, hidden[:, -1])
        probability = stop[0, -1].softmax(dim=0)[0]
        sentences.append({"token_ids": ids, "stop_probability": numbers(probability)})
        again = [BOS, *ids[:-1]] if model.config.reencode_bos else ids
        vectors = torch.cat([vectors, model.svae.encoder(*padded([again]))[None]], dim=1)
    return {
        "prompt_ids": prompt,
        "max_new_sentences": NEW_SENTENCES[model.config.name],
        "sentences": sentences,
        "finish_reason": reason,
    }


def sllm_case(config: ModelConfig) -> tuple[Sllm, dict[str, Any]]:
    """A tiny model and what it computes."""
    torch.manual_seed(SEED)
    model = Sllm(config)
    tokenizer = tiny_tokenizer()
    rows = [tokenizer.encode(text).ids for text in STORY]
    train_sllm(model, rows, len(PROMPT))
    model.eval()
    prompt = rows[: len(PROMPT)]
    ids, mask = padded(prompt)
    vectors = model.svae.encoder(ids, mask)
    hidden, stop = model.run_backbone(vectors[None], PREFILL)
    teacher = torch.tensor([rows[0], rows[2][: len(rows[0])]])
    expected = {
        "tolerance": TOLERANCE,
        "texts": PROMPT,
        "encoder": {
            "input_ids": ids.tolist(),
            "attention_mask": mask.tolist(),
            "sentence_embedding": numbers(vectors),
        },
        "backbone": {
            "prompt": PREFILL,
            "inputs_embeds": numbers(vectors[None]),
            "hidden": numbers(hidden),
            "stop_logits": numbers(stop),
        },
        "decoder": {
            "input_ids": teacher.tolist(),
            "sentence_embedding": numbers(hidden[0, :2]),
            "logits": numbers(model.svae.decoder(teacher, hidden[0, :2])),
        },
        "reconstruction": [decode_greedily(model, vector[None]) for vector in vectors],
        "generation": generate(model, prompt),
    }
    return model, expected


def opt_case(config: ModelConfig) -> tuple[Opt, dict[str, Any]]:
    """A tiny OPT and what it computes."""
    torch.manual_seed(SEED)
    model = Opt(config)
    tokenizer = tiny_tokenizer()
    story = torch.tensor([tokenizer.encode("".join(STORY[:3])).ids])
    target = torch.cat([story[:, 1:], torch.tensor([[EOS]])], dim=1)
    train(model, lambda: cross_entropy(model(story).transpose(1, 2), target), OPT_STEPS)
    model.eval()
    prompt = tokenizer.encode(STORY[0]).ids
    ids: list[int] = []
    while EOS not in ids:
        ids.append(choose(model(torch.tensor([prompt + ids]))[0, -1]))
    expected = {
        "tolerance": TOLERANCE,
        "opt": {"input_ids": [prompt], "logits": numbers(model(torch.tensor([prompt])))},
        "generation": {"prompt_ids": prompt, "token_ids": ids},
    }
    return model, expected


def write_case(raw: dict[str, Any], out: Path) -> None:
    """Writes config, checkpoint, expected numbers and bundle of one model."""
    folder = out / raw["name"]
    folder.mkdir(parents=True)
    config = parse_config(raw)
    case: tuple[torch.nn.Module, dict[str, Any]]
    case = opt_case(config) if config.kind == "opt" else sllm_case(config)
    model, expected = case
    tensors = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    save_file(tensors, folder / "checkpoint.safetensors")
    (folder / "config.json").write_text(json.dumps(raw, indent=2) + "\n", encoding="utf-8")
    text = json.dumps(expected, separators=(",", ":"), ensure_ascii=False)
    (folder / "expected.json").write_text(text + "\n", encoding="utf-8")
    bundle, segmentation = BUNDLES[raw["name"]]
    arguments = ["bundle", "--config", str(folder / "config.json")]
    arguments += ["--checkpoint", str(folder / "checkpoint.safetensors")]
    arguments += ["--tokenizer", str(out / "tokenizer.json"), "--out", str(out / bundle)]
    arguments += ["--segmentation", segmentation]
    if export(arguments):
        raise SystemExit(f"{raw['name']}: the exporter failed")


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


def main() -> None:
    parser = argparse.ArgumentParser(description="Makes tests/golden.")
    parser.add_argument("--out", type=Path, default=ROOT / "tests" / "golden")
    out: Path = parser.parse_args().out
    torch.set_num_threads(1)
    readme = out / "README.md"
    kept = readme.read_text(encoding="utf-8") if readme.exists() else None
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    if kept is not None:
        readme.write_text(kept, encoding="utf-8")
    tiny_tokenizer().save(str(out / "tokenizer.json"))
    for raw in (CAUSAL, ORIGINAL, OPT):
        write_case(raw, out)
    write_torch_file(Path(__file__).parent / "data")


if __name__ == "__main__":
    main()
