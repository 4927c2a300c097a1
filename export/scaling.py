"""Trains small SentenceVAEs and SLLMs of several sizes, and draws how their perplexity falls.

    PYTHONPATH=export python export/scaling.py --text FILE --valid FILE --out DIR

Nine SentenceVAEs (three widths, 1, 2 and 4 layers) and three SLLMs (width and layers together) see
the same tokens each. Their shapes are the paper's (arXiv 2408.00655): post-norm, one constant for
every position in the decoder. What is in DIR already is not trained again. Writes DIR/scaling.json
and the picture --svg, and prints the tables as Markdown.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import safe_open

from sllm_export.errors import ExportError
from sllm_export.outputs import check_file

EXPORT = Path(__file__).resolve().parent
TOKENIZER = EXPORT.parent / "models" / "sllm-stories" / "tokenizer.json"
VOCAB_SIZE = 4096
WIDTHS = (64, 128, 256)
LAYERS = (1, 2, 4)
SLLMS = ((64, 2), (128, 4), (256, 6))
HEAD_SIZE = 32
BATCH_TOKENS = 4096
PAPER_WIDTHS = (768, 1024, 2048)
PAPER_SVAES = ((3.605, 2.588, 1.649), (2.406, 1.845, 1.384), (1.622, 1.292, 1.115))
PAPER_SLLMS = ((214e6, 31.68), (429e6, 24.84), (1.61e9, 8.76))
"""Parameters and perplexity of SLLM-125M-H1, SLLM-350M-H1 and SLLM-1.3B-H1 (Table 2)."""


@dataclass(frozen=True)
class Size:
    """A model to train: with `backbone` layers it is an SLLM, without a SentenceVAE."""

    width: int
    layers: int
    backbone: int = 0

    @property
    def name(self) -> str:
        return f"{'sllm' if self.backbone else 'svae'}-{self.width}-h{self.layers}"

    @property
    def figure(self) -> str:
        """The key of its perplexity in metrics.jsonl."""
        return "next_sentence_perplexity" if self.backbone else "reconstruction_perplexity"

    def config(self) -> dict[str, Any]:
        """Its configuration file."""
        width, heads = self.width, self.width // HEAD_SIZE
        config: dict[str, Any] = {
            "name": self.name,
            "kind": "sllm" if self.backbone else "svae",
            "vocab_size": VOCAB_SIZE,
            "hidden_size": width,
            "max_sentence_tokens": 64,
            "tokens": {"bos": 1, "eos": 2, "pad": 0},
            "svae": {
                "layers": self.layers,
                "heads": heads,
                "ffn_size": 2 * width,
                "word_embed_size": width,
                "learnable_add": False,
            },
        }
        if self.backbone:
            config |= {
                "max_sentences": 64,
                "reencode_bos": True,
                "backbone": {
                    "layers": self.backbone,
                    "heads": heads,
                    "ffn_size": 4 * width,
                    "norm_first": True,
                    "max_positions": 64,
                    "prefill_attention": "causal",
                },
            }
        return config


def sizes() -> list[Size]:
    """All models, the SentenceVAEs first."""
    svaes = [Size(width, layers) for width in WIDTHS for layers in LAYERS]
    return svaes + [Size(width, 1, backbone) for width, backbone in SLLMS]


def train(size: Size, args: argparse.Namespace) -> dict[str, Any]:
    """Train a model, if it is not yet; returns its figures."""
    folder: Path = args.out / size.name
    folder.mkdir(parents=True, exist_ok=True)
    steps = max(1, (args.sllm_tokens if size.backbone else args.svae_tokens) // BATCH_TOKENS)
    if last_evaluation(folder, steps) is None:
        config = folder / "config.json"
        config.write_text(json.dumps(size.config(), indent=2) + "\n")
        # The texts are the same for all, and are tokenized once.
        (args.out / "corpora").mkdir(exist_ok=True)
        if not (folder / "corpora").exists():
            (folder / "corpora").symlink_to(Path("..") / "corpora")
        run(command(size, args, config, folder, steps))
    report = last_evaluation(folder, steps)
    if report is None:
        raise SystemExit(f"{folder}: the training did not come to its end; run the command again")
    with safe_open(folder / "model.safetensors", "numpy") as weights:
        shapes = [weights.get_slice(name).get_shape() for name in weights.keys()]  # noqa: SIM118
    return {
        "name": size.name,
        "width": size.width,
        "layers": size.layers,
        "backbone_layers": size.backbone,
        "parameters": sum(map(math.prod, shapes)),
        "tokens": steps * BATCH_TOKENS,
        "perplexity": report["valid"][size.figure],
        "round_trip": report["valid"]["round_trip"],
        "seconds": report["seconds"],
    }


def command(
    size: Size, args: argparse.Namespace, config: Path, folder: Path, steps: int
) -> list[str]:
    """The training of one model."""
    start = [sys.executable, "-m"]
    if args.processes > 1:
        start += ["torch.distributed.run", "--standalone"]
        start += ["--nproc-per-node", str(args.processes), "-m"]
    texts = [part for text in args.text for part in ("--text", text)]
    options = {
        "stage": "joint" if size.backbone else "svae",
        "config": config,
        "out": folder,
        "tokenizer": args.tokenizer,
        "valid": args.valid,
        "valid-records": args.valid_records,
        "max-text-bytes": args.max_text_bytes,
        "segmentation": "clauses",
        "steps": steps,
        "batch-tokens": BATCH_TOKENS,
        "group-tokens": 1024,
        "warmup": 20,
        "lr": args.lr,
        "ema": 0.98,
        "precision": args.precision,
        "evaluate-every": steps,
    }
    named = [part for name, value in options.items() for part in (f"--{name}", str(value))]
    return [*start, "sllm_train", *texts, *named]


def run(arguments: list[str]) -> None:
    """Run a training; its last evaluation is in its folder."""
    path = os.pathsep.join(filter(None, (str(EXPORT), os.environ.get("PYTHONPATH"))))
    environment = {"OMP_NUM_THREADS": "1", **os.environ, "PYTHONPATH": path}
    subprocess.run(arguments, check=True, stdout=subprocess.DEVNULL, env=environment)


def last_evaluation(folder: Path, steps: int) -> dict[str, Any] | None:
    """The evaluation of a training that came to its end."""
    path = folder / "metrics.jsonl"
    entries = path.read_text().splitlines() if path.exists() else []
    for line in reversed(entries):
        entry: dict[str, Any] = json.loads(line)
        if "valid" in entry:
            return entry if entry["step"] >= steps else None
    return None


def tables(results: list[dict[str, Any]]) -> str:
    """The figures beside the paper's, as Markdown."""
    svaes = {(r["width"], r["layers"]): r for r in results if not r["backbone_layers"]}
    sllms = [r for r in results if r["backbone_layers"]]
    lines = ["| width | H1 | H2 | H4 | paper: width | H1 | H2 | H4 |", "|---" * 8 + "|"]
    for width, paper_width, paper in zip(WIDTHS, PAPER_WIDTHS, PAPER_SVAES, strict=True):
        ours = [f"{svaes[width, layers]['perplexity']:.2f}" for layers in LAYERS]
        cells = [str(width), *ours, str(paper_width), *(f"{value:.3f}" for value in paper)]
        lines.append(f"| {' | '.join(cells)} |")
    lines += ["", "| SLLM | parameters | perplexity | paper: parameters | perplexity |"]
    lines.append("|---" * 5 + "|")
    for ours_, (parameters, perplexity) in zip(sllms, PAPER_SLLMS, strict=True):
        own = f"{ours_['name']} | {ours_['parameters'] / 1e6:.2f} M | {ours_['perplexity']:.2f}"
        lines.append(f"| {own} | {parameters / 1e6:.0f} M | {perplexity:.2f} |")
    return "\n".join(lines)


def draw(results: list[dict[str, Any]], path: Path) -> None:
    """Both laws beside the paper's, as a picture."""
    import matplotlib as mpl

    mpl.use("svg")
    # The same figures give the same file.
    mpl.rcParams |= {"svg.hashsalt": "scaling", "svg.fonttype": "none", "font.size": 9}
    from matplotlib import pyplot as plt
    from matplotlib.ticker import NullFormatter

    figure, ((ours, paper), (own_sizes, paper_sizes)) = plt.subplots(
        2, 2, figsize=(8, 6), layout="constrained"
    )
    for width, paper_width, values in zip(WIDTHS, PAPER_WIDTHS, PAPER_SVAES, strict=True):
        row = [r for r in results if r["width"] == width and not r["backbone_layers"]]
        ours.plot(
            [r["layers"] for r in row], [r["perplexity"] for r in row], "o-", label=f"D {width}"
        )
        paper.plot(LAYERS, values, "o-", label=f"D {paper_width}")
    sllms = [r for r in results if r["backbone_layers"]]
    own_sizes.plot([r["parameters"] for r in sllms], [r["perplexity"] for r in sllms], "o-")
    paper_sizes.plot(*zip(*PAPER_SLLMS, strict=True), "o-")
    for axes, title in ((ours, "SentenceVAE, here"), (paper, "SentenceVAE, the paper")):
        axes.set(title=title, xlabel="layers (H)", ylabel="reconstruction perplexity")
        axes.set_xticks(LAYERS)
        axes.legend()
    for axes, title in ((own_sizes, "SLLM, here"), (paper_sizes, "SLLM (H1), the paper")):
        axes.set(title=title, xlabel="parameters", ylabel="next-sentence perplexity")
        axes.set_xscale("log")
        axes.xaxis.set_minor_formatter(NullFormatter())
    ours.set_yscale("log")
    # Room for the legend above the lines.
    ours.set_ylim(top=4 * ours.get_ylim()[1])
    ours.legend(loc="upper right")
    figure.savefig(path, metadata={"Date": None})


def parser() -> argparse.ArgumentParser:
    """The command line."""
    cli = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = cli.add_argument
    add("--text", action="append", required=True, metavar="FILE[=SHARE]", help="corpus to train on")
    add("--valid", required=True, metavar="FILE", help="corpus to evaluate on")
    add("--out", type=Path, required=True, metavar="DIR", help="folder of the trainings")
    add("--svg", type=Path, metavar="FILE", help="picture to write (default: DIR/scaling.svg)")
    add("--tokenizer", type=Path, default=TOKENIZER, metavar="FILE", help="default: %(default)s")
    add("--svae-tokens", type=int, default=250_000, metavar="N", help="default: %(default)s")
    add("--sllm-tokens", type=int, default=500_000, metavar="N", help="default: %(default)s")
    add("--max-text-bytes", type=int, default=8_000_000, metavar="N", help="default: %(default)s")
    add("--valid-records", type=int, default=60, metavar="N", help="default: %(default)s")
    add("--lr", type=float, default=4e-3, metavar="X", help="default: %(default)s")
    add("--precision", default="fp32", metavar="NAME", help="default: %(default)s")
    processes = os.cpu_count() or 1
    add("--processes", type=int, default=processes, metavar="N", help="default: %(default)s")
    return cli


def main() -> None:
    """Train, draw, print."""
    args = parser().parse_args()
    for name in ("out", "tokenizer"):
        setattr(args, name, getattr(args, name).resolve())
    table, picture = args.out / "scaling.json", args.svg or args.out / "scaling.svg"
    try:
        for path in (table, picture):
            check_file(path)
        results = [train(size, args) for size in sizes()]
        table.write_text(json.dumps(results, indent=2) + "\n")
        draw(results, picture)
    except (ExportError, OSError) as error:
        raise SystemExit(f"scaling.py: error: {error}") from error
    print(tables(results))


if __name__ == "__main__":
    main()
