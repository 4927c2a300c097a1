"""What a training's folder holds besides its state: tokenizer, tokenised corpora, `training.json`.

`training.json` tells what the state beside it belongs to, and how it was last started.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from sllm_export.config import ModelConfig
from sllm_export.errors import ExportError
from sllm_export.outputs import check_file
from sllm_export.tokenizer import check_tokenizer, find_tokenizer

from .bpe import SPECIAL_TOKENS, train_tokenizer
from .corpus import RULES, sample_records, text_bytes
from .options import Options
from .state import METRICS_FILE, STABLE_FILE, STATE_FILE, WEIGHTS_FILE, write_file

TOKENIZER_FILE = "tokenizer.json"
TRAINING_FILE = "training.json"
CORPORA = "corpora"

# Options that a state cannot be resumed with other values of.
STATE_OPTIONS = ("stage", "segmentation", "optimizer", "freeze_svae", "outer_layers")

WeightedPath = tuple[Path, float]


def check_trainable(config: ModelConfig, source: Path, options: Options) -> None:
    """Refuses a configuration that the stage does not fit."""
    stage = options.stage
    wanted: list[tuple[str, Any, Any]] = [
        ("kind", config.kind, stage if stage in ("svae", "opt") else "sllm")
    ]
    if stage == "joint":
        wanted.append(("reencode_bos", config.reencode_bos, True))
    if stage == "joint" and config.kind == "sllm":
        prefill = config.require_backbone().prefill_attention
        wanted.append(("backbone.prefill_attention", prefill, "causal"))
    for name, value, allowed in wanted:
        if value != allowed:
            shown, only = json.dumps(value), json.dumps(allowed)
            raise ExportError(
                f"{source}: {name} is {shown} (allowed in training: {only}), --stage is {stage}"
            )
    if stage == "context-bias" and not config.require_svae().context_bias_size:
        raise ExportError(
            f"{source}: svae.context_bias_size is 0: nothing to train in --stage {stage}"
        )
    if options.outer_layers is not None:
        layers = config.require_backbone().layers
        if 2 * options.outer_layers >= layers:
            allowed = f"0 to {(layers - 1) // 2} of {layers} layers"
            raise ExportError(f"--outer-layers is {options.outer_layers} (allowed: {allowed})")


def check_out(folder: Path) -> None:
    """Refuses, before any work, a folder in which a training could not write."""
    for name in (TRAINING_FILE, METRICS_FILE, STATE_FILE, STABLE_FILE, WEIGHTS_FILE):
        check_file(folder / name)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Holds the lock of `folder`. Raises ExportError if another training holds it.

    Windows and some network file systems have no such locks: nothing is locked there.
    """
    if sys.platform == "win32":
        yield
        return
    import fcntl

    descriptor = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ExportError(
                f"{folder}: another process trains there; stop it, or choose another --out"
            ) from error
        except OSError as error:
            if error.errno not in (errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP):
                raise
        yield
    finally:
        os.close(descriptor)


def obtain_tokenizer(
    folder: Path,
    given: Path | None,
    opt: Path | None,
    texts: list[WeightedPath],
    config: ModelConfig,
    rule: str,
    max_bytes: int | None,
    teacher: Path | None,
) -> Tokenizer:
    """The folder's tokenizer; if it has none yet, `given`, that of the directory `opt`, or one
    trained on `texts` is put there.

    Raises ExportError if it is not the one given, or that of the training `teacher`, or does not
    fit the configuration.
    """
    kept = folder / TOKENIZER_FILE
    content = find_tokenizer(given, opt) if given or opt else None
    if kept.exists():
        if content is not None and content != kept.read_bytes():
            raise ExportError(
                f"{kept}: is another tokenizer than {given or opt}; choose another --out"
            )
        content = kept.read_bytes()
    elif content is None:
        if (folder / STATE_FILE).exists():
            raise ExportError(f"{kept}: is missing, and the state needs it; give --tokenizer")
        tokens = config.tokens
        if max(tokens.bos, tokens.eos, tokens.pad) >= len(SPECIAL_TOKENS):
            raise ExportError("without --tokenizer, the ids in tokens must be 0, 1 or 2")
        trained = train_tokenizer(_sample(texts, rule, max_bytes), config.vocab_size, rule)
        content = trained.to_str(pretty=True).encode()
    check_tokenizer(content, config)
    if teacher and content != (teacher / TOKENIZER_FILE).read_bytes():
        raise ExportError(
            f"{teacher}: its {TOKENIZER_FILE} is another than that of this training; begin one "
            f"with --tokenizer {teacher / TOKENIZER_FILE}"
        )
    if not kept.exists():
        folder.mkdir(parents=True, exist_ok=True)
        write_file(kept, content)
    tokenizer = Tokenizer.from_buffer(content)
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def _sample(texts: list[WeightedPath], rule: str, max_bytes: int | None) -> Iterator[str]:
    """Sentences of the corpora in proportion to their weights, as many as there are."""
    sizes = [text_bytes(path) for path, _ in texts]
    densities = [
        weight / max(1, min(size, max_bytes or size))
        for (_, weight), size in zip(texts, sizes, strict=True)
    ]
    for (path, _), density in zip(texts, densities, strict=True):
        rate, kept, records = density / max(densities), 0.0, 0
        for record in sample_records(path, max_bytes):
            records += 1
            kept += rate
            if kept >= 1:
                kept -= 1
                yield from RULES[rule](record)
        if not records:
            raise ExportError(f"{path}: no text in it")


def claim_folder(folder: Path, config: ModelConfig, settings: dict[str, Any]) -> None:
    """Writes `training.json`, unless the folder's state belongs to another configuration, stage,
    tokenizer or text: then ExportError. A state without `training.json` is taken as it is."""
    path = folder / TRAINING_FILE
    tokenizer = hashlib.sha256((folder / TOKENIZER_FILE).read_bytes()).hexdigest()
    entry = {"config": config.raw, "tokenizer_sha256": tokenizer, **settings}
    if path.exists() and (folder / STATE_FILE).exists():
        try:
            stored = json.loads(path.read_text(encoding="utf-8"))
            other = _difference(stored, entry)
        except (ValueError, LookupError, TypeError, RecursionError) as error:
            raise ExportError(f"{path}: is damaged: {error!r}") from error
        if other:
            raise ExportError(f"{folder}: its state belongs to {other}; choose another --out")
        # What the state began with, whatever stands on this command line.
        if "initial" in stored:
            entry["initial"] = stored["initial"]
    text = json.dumps(entry, indent=2, ensure_ascii=False) + "\n"
    # A path need not be UTF-8.
    write_file(path, text.encode(errors="backslashreplace"))


def _difference(stored: dict[str, Any], now: dict[str, Any]) -> str:
    """What a state cannot be resumed with; empty if there is nothing. Folders of earlier versions
    lack some of the keys."""
    before, config = dict(stored["config"]), now["config"]
    keys = sorted({*before, *config})
    changed = [key for key in keys if before.get(key) != config.get(key)]
    if changed:
        return f"another configuration (other: {', '.join(changed)})"
    if stored["tokenizer_sha256"] != now["tokenizer_sha256"]:
        return f"another {TOKENIZER_FILE}"
    options = dict(stored.get("options", {}))
    defaults = {option.name: option.default for option in fields(Options)}
    for name in STATE_OPTIONS:
        value = options.get(name, defaults[name])
        if value != now["options"][name]:
            return f"another --{name.replace('_', '-')} ({json.dumps(value)})"
    if _unnamed(stored["text"]) != _unnamed(now["text"]):
        return "other --text or --substituted files, shares or copies"
    # The best loss of the state is that of this text.
    if "valid" in stored and _unnamed(stored["valid"][:1]) != _unnamed(now["valid"][:1]):
        return f"another first --valid ({stored['valid'][0][0]})"
    records = stored.get("valid_records", now["valid_records"])
    if records != now["valid_records"]:
        return f"another --valid-records ({json.dumps(records)})"
    return ""


def _unnamed(files: list[list[Any]]) -> list[list[Any]]:
    """Entries of files without their paths."""
    return [entry[1:] for entry in files]
