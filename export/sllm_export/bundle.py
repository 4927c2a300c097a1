"""Writes bundles: a directory that holds one model, whole or absent."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sllm_export import __version__
from sllm_export.checkpoint.expected import check_finite, check_tensors, expected_shapes
from sllm_export.checkpoint.state_dict import StateDict
from sllm_export.config import ModelConfig
from sllm_export.digest import sha256
from sllm_export.errors import ExportError
from sllm_export.model_card import CardEntry, write_card
from sllm_export.outputs import check_folder, check_replaceable
from sllm_export.tokenizer import check_tokenizer
from sllm_export.variants import GRAPHS, Variant, build_graph
from sllm_export.verify.cases import make_cases
from sllm_export.verify.outputs import check_graph
from sllm_export.verify.weights import check_weights

FORMAT_VERSION = 1
MANIFEST = "sllm.json"
CARD = "MODEL_CARD.md"
TOKENIZER = "tokenizer.json"
# Files that file managers put into any folder.
_OF_SYSTEMS = {".DS_Store", "Thumbs.db", "desktop.ini"}
SEGMENTATIONS: dict[str, dict[str, str]] = {
    "keep-split": {"tail": "keep", "long_sentence": "split"},
    "drop-truncate": {"tail": "drop", "long_sentence": "truncate"},
    "clauses": {
        "rule": "clauses",
        "white_space": "canonical",
        "tail": "keep",
        "long_sentence": "split",
    },
}


@dataclass(frozen=True)
class BundleSource:
    """All that a bundle is made from; `provenance` and `card` are written as they are."""

    config: ModelConfig
    state_dict: StateDict
    tokenizer: bytes
    variants: list[Variant]
    segmentation: str
    generation: dict[str, Any]
    provenance: dict[str, Any]
    card: bytes | None
    ignored_tensors: frozenset[str] = frozenset()


def write_bundle(
    source: BundleSource, out: Path, force: bool, report: Callable[[CardEntry], None]
) -> None:
    """Writes the bundle to `out`, and hands each graph to `report` when it is written and checked.

    Everything is built and checked in a directory beside `out`, which is renamed at the end: after
    a failure `out` is as it was. Raises ExportError.
    """
    check_tokenizer(source.tokenizer, source.config)
    expected = expected_shapes(source.config)
    check_tensors(source.state_dict, expected, source.ignored_tensors)
    check_finite(source.state_dict, expected)
    with _new_directory(out, force) as work:
        entries, variants = _write_variants(source, work, report)
        (work / TOKENIZER).write_bytes(source.tokenizer)
        manifest = {
            "format_version": FORMAT_VERSION,
            "model": source.config.raw,
            "segmentation": SEGMENTATIONS[source.segmentation],
            **({"generation": source.generation} if source.generation else {}),
            "tokenizer": _file_entry(work, work / TOKENIZER),
            "variants": variants,
            "provenance": {**source.provenance, "exporter_version": __version__},
        }
        text = json.dumps(manifest, indent=2, ensure_ascii=False) + "\n"
        (work / MANIFEST).write_text(text, encoding="utf-8")
        card = source.card
        if card is None:
            card = write_card(source.config, manifest, entries).encode()
        (work / CARD).write_bytes(card)


def _write_variants(
    source: BundleSource, work: Path, report: Callable[[CardEntry], None]
) -> tuple[list[CardEntry], list[dict[str, Any]]]:
    cases = {case.graph: case for case in make_cases(source.config, source.state_dict)}
    source.state_dict.release()
    entries: list[CardEntry] = []
    variants: list[dict[str, Any]] = []
    for variant in source.variants:
        folder = work / variant.name
        folder.mkdir()
        graphs: dict[str, Any] = {}
        for graph in GRAPHS[source.config.kind]:
            path = folder / f"{graph}.onnx"
            builder = build_graph(source.config, source.state_dict, variant, graph)
            data = builder.save(path)
            check_weights(path, builder.sources)
            # The weights are to be freed before the graph is run.
            del builder
            source.state_dict.release()
            graphs[graph] = _file_entry(work, path)
            size = path.stat().st_size
            if data is not None:
                graphs[graph]["external_data"] = [_file_entry(work, data)]
                size += data.stat().st_size
            error = check_graph(path, cases[graph], variant.tolerance)
            entries.append(CardEntry(variant, graph, size, error))
            report(entries[-1])
        variants.append(
            {
                "name": variant.name,
                "precision": variant.precision_name,
                "providers": list(variant.providers),
                "graphs": graphs,
            }
        )
    return entries, variants


def _file_entry(work: Path, path: Path) -> dict[str, Any]:
    return {"file": path.relative_to(work).as_posix(), "sha256": sha256(path)}


def check_out(out: Path, force: bool) -> Path:
    """`out` without links; raises ExportError if no bundle can be written there. To be called
    before any work."""
    try:
        out = out.resolve()
        str(out).encode()
        if out.exists():
            if not force:
                raise ExportError(f"{out}: exists already; --force replaces a bundle")
            if not (out / MANIFEST).is_file():
                raise ExportError(f"{out}: exists and is no bundle, so --force does not replace it")
            _check_only_bundle(out)
            check_replaceable(out)
    except UnicodeEncodeError as error:
        shown = str(out).encode(errors="backslashreplace").decode()
        raise ExportError(f"{shown}: ONNX Runtime takes no path that is not UTF-8") from error
    except OSError as error:
        raise _unwritable(out, error) from error
    except RuntimeError as error:  # So Python before 3.13 says that links form a circle.
        raise ExportError(f"{out}: cannot be written: {error}") from error
    check_folder(out.parent)
    return out


def _check_only_bundle(out: Path) -> None:
    """Raises ExportError if something in `out` was not written by the exporter: with the folder it
    would be lost."""
    graphs = {name for names in GRAPHS.values() for name in names}
    own = {MANIFEST, CARD, TOKENIZER, *_OF_SYSTEMS}
    written = {f"{graph}.onnx{end}" for graph in graphs for end in ("", ".data")}
    for path in out.iterdir():
        is_folder = path.is_dir() and not path.is_symlink()
        for part in path.iterdir() if is_folder else [path]:
            if part.name not in (written | _OF_SYSTEMS if is_folder else own):
                raise ExportError(
                    f"{part}: is no part of the bundle, and --force would delete it: move it "
                    "elsewhere, or choose another --out"
                )


def _unwritable(out: Path, error: OSError) -> ExportError:
    return ExportError(f"{out}: cannot be written: {error.strerror or error}")


@contextmanager
def _new_directory(out: Path, force: bool) -> Iterator[Path]:
    """A directory to fill that becomes `out` at the end, or vanishes if anything fails."""
    out = check_out(out, force)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    except OSError as error:
        raise _unwritable(out, error) from error
    old = scratch / "old"
    try:
        work = scratch / "new"
        work.mkdir()
        yield work
        _replace(out, work, old)
    except OSError as error:
        raise _unwritable(out, error) from error
    finally:
        # Where the old bundle could not be put back, it is not lost.
        if out.exists() or not old.exists():
            shutil.rmtree(scratch, ignore_errors=True)


def _replace(out: Path, work: Path, old: Path) -> None:
    """Puts `work` in place of `out`; if that fails or is interrupted, `out` is put back."""
    try:
        if out.exists():
            out.rename(old)
        work.rename(out)
    except BaseException:
        if old.exists() and not out.exists():
            old.rename(out)
        raise
