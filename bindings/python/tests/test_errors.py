"""Which exception is raised for what."""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sllm_ort
from conftest import PROMPT, TINY, TINY_OPT, TINY_SVAE

ROWS: list[tuple[Callable[[Any], object], type[Exception], type[Exception], str]] = [
    (
        lambda m: m.session(PROMPT).generate(temperature=-1),
        sllm_ort.ArgumentError,
        ValueError,
        r"temperature is -1, allowed is 0 \(greedy\) to 100",
    ),
    (
        lambda m: m.session(PROMPT).generate(top_p=2.0),
        sllm_ort.ArgumentError,
        ValueError,
        "top_p is 2, allowed is above 0 to 1",
    ),
    (
        lambda m: m.session(PROMPT).generate(max_sentences=-1),
        sllm_ort.ArgumentError,
        ValueError,
        "max_sentences is -1, allowed is 0 or more",
    ),
    (
        lambda m: m.session(PROMPT).generate(stop=[""]),
        sllm_ort.ArgumentError,
        ValueError,
        "stop is",
    ),
    (
        lambda m: m.session(PROMPT).generate(overflow="go"),
        sllm_ort.ArgumentError,
        ValueError,
        'overflow is "go", allowed is "stop" or "drop_oldest"',
    ),
    (
        lambda m: m.session(PROMPT).generate(time_limit=-1),
        sllm_ort.ArgumentError,
        ValueError,
        "time_limit is -1",
    ),
    (
        lambda m: m.session(PROMPT).rewind(-1),
        sllm_ort.ArgumentError,
        ValueError,
        "a count is -1",
    ),
    (
        lambda m: m.session().generate(),
        sllm_ort.ArgumentError,
        ValueError,
        "there is nothing to continue",
    ),
    (
        lambda m: m.generate_batch([PROMPT, ""]),
        sllm_ort.ArgumentError,
        ValueError,
        "context 1 of the batch: there is nothing to continue",
    ),
    (
        lambda m: m.generate_batch([m.session(PROMPT)] * 2),
        sllm_ort.BusyError,
        RuntimeError,
        "the session is in use",
    ),
    (
        lambda m: m.generate_batch([PROMPT, sllm_ort.Model(TINY).session(PROMPT)]),
        sllm_ort.ArgumentError,
        ValueError,
        "context 1 of the batch: the sessions of a batch belong to several models",
    ),
    (
        lambda m: m.session("A dog ran. " * 100_000),
        sllm_ort.ContextFullError,
        ValueError,
        "the text has more sentences than fit",
    ),
    (
        lambda m: m.decode([[0.0, 1.0]]),
        sllm_ort.ArgumentError,
        ValueError,
        "a vector has 2 numbers",
    ),
    (
        lambda m: m.decode([0.0, 1.0]),
        sllm_ort.ArgumentError,
        ValueError,
        r"vectors is \(2,\), allowed is of two dimensions",
    ),
    (
        lambda m: m.decode([[0.0] * m.hidden_size] * 40 + [[float("nan")] * m.hidden_size]),
        sllm_ort.ArgumentError,
        ValueError,
        "vector 40 has a number that is not finite",
    ),
    (
        lambda m: m.reconstruct(["Tom had a ball. ", ""]),
        sllm_ort.ArgumentError,
        ValueError,
        r"texts\[1\] is empty, allowed is one sentence",
    ),
    (
        lambda m: m.reconstruct(["Tom had a ball. ", "and then " * 100, ""]),
        sllm_ort.ArgumentError,
        ValueError,
        r"texts\[1\] is longer than a sentence of this model",
    ),
    (
        lambda m: m.interpolate("A.", "B.", 1),
        sllm_ort.ArgumentError,
        ValueError,
        "steps is 1, allowed is 2 to 1024",
    ),
    (
        lambda m: sllm_ort.Model(TINY_SVAE).session(),
        sllm_ort.ArgumentError,
        ValueError,
        "has no backbone",
    ),
    (
        lambda m: sllm_ort.Model(TINY_OPT).encode([]),
        sllm_ort.ArgumentError,
        ValueError,
        "is of kind opt",
    ),
    (
        lambda m: sllm_ort.Model(TINY, variant="fast"),
        sllm_ort.ArgumentError,
        ValueError,
        'no variant "fast"',
    ),
    (
        lambda m: sllm_ort.Model(TINY, provider="gpu"),
        sllm_ort.ArgumentError,
        ValueError,
        "provider is gpu, allowed is auto, cuda",
    ),
    (
        lambda m: sllm_ort.Model(TINY, threads=0),
        sllm_ort.ArgumentError,
        ValueError,
        "threads is 0, allowed is 1 to 1024",
    ),
    (
        lambda m: sllm_ort.Model(TINY, threads=-1),
        sllm_ort.ArgumentError,
        ValueError,
        "a count is -1, allowed is 0 or more",
    ),
    (
        lambda m: sllm_ort.Model(TINY, device=2**40),
        sllm_ort.ArgumentError,
        ValueError,
        "device is 4294967295, allowed is 0 to 1023",
    ),
    (
        lambda m: sllm_ort.Model(TINY, spinning=2.0),
        sllm_ort.ArgumentError,
        ValueError,
        "spinning is 2000000",
    ),
    (
        lambda m: sllm_ort.Model(TINY, provider="cuda"),
        sllm_ort.OnnxRuntimeError,
        sllm_ort.Error,
        'no execution provider "cuda"',
    ),
    (
        lambda m: sllm_ort.Model(TINY, onnxruntime="nowhere.so"),
        sllm_ort.OnnxRuntimeError,
        sllm_ort.Error,
        "ONNX Runtime is already loaded from",
    ),
    (
        lambda m: sllm_ort.Session.from_bytes(m, b"nothing"),
        sllm_ort.SnapshotError,
        ValueError,
        "not a session of this program",
    ),
    (
        lambda m: sllm_ort.Session.from_bytes(
            m, sllm_ort.Model(TINY_OPT).session(PROMPT).to_bytes()
        ),
        sllm_ort.SnapshotError,
        ValueError,
        "was saved with another model",
    ),
    (
        lambda m: sllm_ort.Session.load(m, "nowhere/x"),
        sllm_ort.MissingFileError,
        FileNotFoundError,
        "cannot read nowhere/x: check that it exists",
    ),
    (
        lambda m: m.session(PROMPT).save("nowhere/x"),
        sllm_ort.MissingFileError,
        FileNotFoundError,
        "cannot write nowhere/x",
    ),
    (
        lambda m: sllm_ort.Session.load(m, TINY),
        sllm_ort.FileError,
        OSError,
        "cannot read",
    ),
    (
        lambda m: sllm_ort.Model("nowhere"),
        sllm_ort.MissingFileError,
        FileNotFoundError,
        "bundle .*nowhere does not exist",
    ),
    (
        lambda m: sllm_ort.Model(TINY.parent),
        sllm_ort.MissingFileError,
        FileNotFoundError,
        "holds no sllm.json",
    ),
    (
        lambda m: sllm_ort.Model(TINY / "sllm.json"),
        sllm_ort.NotADirectoryFileError,
        NotADirectoryError,
        "is not a directory",
    ),
    (
        lambda m: sllm_ort.Model(""),
        sllm_ort.FileError,
        OSError,
        "cannot use the path",
    ),
]


@pytest.mark.parametrize("row", range(len(ROWS)))
def test_each_failure_has_its_exception(tiny: sllm_ort.Model, row: int) -> None:
    fail, expected, builtin, message = ROWS[row]
    with pytest.raises(expected, match=message) as caught:
        fail(tiny)
    error = caught.value
    assert type(error) is expected
    assert isinstance(error, builtin)
    assert isinstance(error, sllm_ort.Error)
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again)) == (type(error), str(error))


@pytest.mark.parametrize(
    ("fail", "message"),
    [
        (lambda s: s.generate(temprature=1), "generate.. got an unexpected keyword .*'temprature'"),
        (lambda s: s.generate(temperature="hot"), "argument 'temperature'"),
        (lambda s: s.generate(max_sentences=1.5), "argument 'max_sentences'"),
        (lambda s: s.generate(stop=3), "argument 'stop'"),
        (lambda s: s.generate(stop=[3]), "argument 'stop'"),
        (lambda s: s.generate(on_text="x"), "argument 'on_text': it is not callable"),
        (lambda s: s.model.generate_batch([PROMPT], on_text=print), "'on_text'"),
        (lambda s: s.model.generate_batch(PROMPT), "a list of contexts is needed, not one str"),
        (lambda s: s.model.generate_batch([3]), "a context is a str or a Session"),
        (lambda s: s.model.encode("A text."), "a list of texts is needed, not one str"),
        (lambda s: s.model.encode([3]), "'int' object is not an instance of 'str'"),
        (lambda s: s.append(3), "'int' object is not an instance of 'str'"),
        (lambda s: sllm_ort.Session(), "cannot create 'sllm_ort.Session' instances"),
    ],
)
def test_wrong_types_and_unknown_keywords(
    tiny: sllm_ort.Model, fail: Callable[[Any], object], message: str
) -> None:
    session = tiny.session(PROMPT)
    with pytest.raises(TypeError, match=message):
        fail(session)
    assert len(session) > 0


def test_a_damaged_bundle(tmp_path: Path) -> None:
    bundle = tmp_path / "bundle"
    shutil.copytree(TINY, bundle)
    (bundle / "tokenizer.json").write_text("{}")
    with pytest.raises(sllm_ort.BundleError, match="sha256"):
        sllm_ort.Model(bundle)
    manifest = json.loads((bundle / "sllm.json").read_text())
    (bundle / "tokenizer.json").unlink()
    with pytest.raises(sllm_ort.FileError, match=r"tokenizer\.json"):
        sllm_ort.Model(bundle)
    manifest["model"]["hidden_size"] = "many"
    (bundle / "sllm.json").write_text(json.dumps(manifest))
    with pytest.raises(sllm_ort.BundleError, match="hidden_size"):
        sllm_ort.Model(bundle)


def test_a_text_that_is_not_unicode_is_told_as_such(tiny: sllm_ort.Model) -> None:
    with pytest.raises(UnicodeEncodeError):
        tiny.generate_batch([PROMPT, "\ud800"])


def test_a_file_error_names_its_file(tiny: sllm_ort.Model, tmp_path: Path) -> None:
    with pytest.raises(sllm_ort.FileError) as caught:
        sllm_ort.Session.load(tiny, tmp_path / "none")
    assert caught.value.filename == tmp_path / "none"
    assert caught.value.errno == 2
    again = pickle.loads(pickle.dumps(caught.value))
    assert (again.filename, again.errno) == (tmp_path / "none", 2)


def test_a_refused_row_leaves_the_sessions(tiny: sllm_ort.Model) -> None:
    good, empty = tiny.session(PROMPT), tiny.session()
    before = len(good)
    with pytest.raises(sllm_ort.ArgumentError, match="context 1 of the batch"):
        tiny.generate_batch([good, empty], max_sentences=1, ignore_eos=True)
    assert (len(good), len(empty)) == (before, 0)
    with pytest.raises(sllm_ort.ContextFullError, match="context 1 of the batch"):
        tiny.generate_batch([good, "A dog ran. " * 10_000])
    assert len(good) == before
    tiny.generate_batch([good], max_sentences=1, ignore_eos=True)
    assert len(good) == before + 1
