"""The bundle's tokenizer: taken as `tokenizer.json`, or made from OPT's vocabulary and merges."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors

from sllm_export.config import ModelConfig
from sllm_export.errors import ExportError

_FILE = "tokenizer.json"
_OPT_BOS = "</s>"
_OPT_PAD = "<pad>"
_SHOWN_CHARACTERS = 300


def find_tokenizer(tokenizer: Path | None, opt: Path | None) -> bytes:
    """The content of the bundle's tokenizer.json.

    It is `tokenizer` if that is given, else the OPT directory's tokenizer.json, else built from
    that directory's vocab.json and merges.txt.
    """
    if tokenizer is not None:
        return _read(tokenizer)
    if opt is None:
        raise ExportError(f"no tokenizer: give --tokenizer {_FILE}, or --opt with OPT's directory")
    if (opt / _FILE).is_file():
        return _read(opt / _FILE)
    vocab, merges = opt / "vocab.json", opt / "merges.txt"
    if vocab.is_file() and merges.is_file():
        return _from_opt_files(vocab, merges)
    raise ExportError(f"{opt}: holds neither {_FILE} nor vocab.json with merges.txt")


def check_tokenizer(content: bytes, config: ModelConfig) -> None:
    """Refuses a tokenizer that cannot be loaded or does not fit the configuration."""
    tokenizer = _loaded(lambda: Tokenizer.from_buffer(content), "the tokenizer cannot be loaded")
    largest = max(tokenizer.get_vocab(with_added_tokens=True).values(), default=-1)
    if largest >= config.vocab_size:
        raise ExportError(
            f"the tokenizer has ids up to {largest} (expected below vocab_size, "
            f"which is {config.vocab_size})"
        )
    tokens = config.tokens
    for name, token in (("bos", tokens.bos), ("eos", tokens.eos), ("pad", tokens.pad)):
        if tokenizer.id_to_token(token) is None:
            raise ExportError(f"the tokenizer has no token with tokens.{name}, which is {token}")


def _loaded(load: Callable[[], Tokenizer], failed: str) -> Tokenizer:
    """What `load` gives; any failure of the library is one ExportError that begins with `failed`.

    The library raises plain Exception; where it panics, a BaseException, and it writes to stderr.
    """
    try:
        with _silent_stderr():
            return load()
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:
        reason = str(error)
        if len(reason) > _SHOWN_CHARACTERS:
            reason = reason[:_SHOWN_CHARACTERS] + "..."
        raise ExportError(f"{failed}: {reason}") from error


@contextmanager
def _silent_stderr() -> Iterator[None]:
    """Drops what native code writes to stderr meanwhile."""
    sys.stderr.flush()
    try:
        kept = os.dup(2)
    except OSError:  # stderr is closed
        yield
        return
    try:
        with Path(os.devnull).open("wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ExportError(f"{path}: cannot be read: {error.strerror}") from error


def _from_opt_files(vocab: Path, merges: Path) -> bytes:
    """OPT's byte-level BPE, with `</s>` in front of every text."""
    tokenizer = _loaded(
        lambda: Tokenizer(models.BPE.from_file(str(vocab), str(merges))),
        f"{vocab.parent}: not a BPE vocabulary",
    )
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    special = [AddedToken(text, normalized=True, special=True) for text in (_OPT_PAD, _OPT_BOS)]
    tokenizer.add_special_tokens(special)
    bos = tokenizer.token_to_id(_OPT_BOS)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{_OPT_BOS} $A",
        pair=f"{_OPT_BOS} $A {_OPT_BOS} $B:1",
        special_tokens=[(_OPT_BOS, bos)],
    )
    return tokenizer.to_str().encode()
