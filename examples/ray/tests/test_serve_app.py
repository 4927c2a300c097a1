"""The app of Ray Serve answers, and refuses what it cannot do."""

from __future__ import annotations

import json
import socket
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

import numpy as np
import pytest
import ray
import sllm_ort
from conftest import MODEL, Nodes
from ray import serve

from serve_app import Completion, Sampling, Sentences, app

DIGITS = b"9" * 400
PROMPT = "Once upon a time, there was a little fox. "


@pytest.fixture(scope="module")
def url(nodes: Nodes) -> Iterator[str]:
    nodes.fill()
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    ray.init(address=nodes.address, log_to_driver=False)
    serve.start(proxy_location="HeadOnly", http_options={"host": "127.0.0.1", "port": port})
    serve.run(app({"model": str(MODEL), "variant": "portable", "replicas": "2"}))
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        serve.shutdown()
        ray.shutdown()


@pytest.fixture(scope="module")
def model() -> sllm_ort.Model:
    return sllm_ort.Model(MODEL, variant="portable", threads=1)


def ask(url: str, body: Any = None, *, data: bytes | None = None) -> tuple[int, Any]:
    """Status and answer of a request."""
    if body is not None:
        data = json.dumps(body).encode()
    try:
        with urllib.request.urlopen(urllib.request.Request(url, data), timeout=120) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def test_completions(url: str, model: sllm_ort.Model) -> None:
    (expected,) = model.generate_batch([PROMPT], max_sentences=3, temperature=0)
    body = {"prompt": PROMPT, "max_sentences": 3, "temperature": 0}
    status, answer = ask(f"{url}/completions", body)
    assert status == 200
    assert answer["text"] == expected.text
    assert answer["sentences"] == [sentence.text for sentence in expected.sentences]
    assert answer["finish_reason"] == expected.finish_reason


def test_a_seed_gives_the_same_text_beside_others(url: str) -> None:
    body = {"prompt": PROMPT, "max_sentences": 3, "temperature": 0.8, "seed": 5}
    _, alone = ask(f"{url}/completions", body)
    bodies = [body, {**body, "seed": 6}, {"prompt": "Tom had a ball. ", "max_sentences": 2}] * 6
    with ThreadPoolExecutor(len(bodies)) as pool:
        answers = list(pool.map(lambda each: ask(f"{url}/completions", each), bodies))
    assert {status for status, _ in answers} == {200}
    assert [answer for _, answer in answers[::3]] == [alone] * 6


def test_embeddings(url: str, model: sllm_ort.Model) -> None:
    texts = ["The fox was happy.", "The fox was sad."]
    status, answer = ask(f"{url}/embeddings", {"input": texts})
    assert status == 200
    assert np.array_equal(np.array(answer["vectors"], np.float32), model.encode(texts))
    bodies = [{"input": text} for text in texts] * 10 + [{"input": "word " * 500}] * 2
    with ThreadPoolExecutor(len(bodies)) as pool:
        answers = list(pool.map(lambda body: ask(f"{url}/embeddings", body), bodies))
    for index, (status, answer) in enumerate(answers[:20]):
        assert status == 200
        expected = model.encode([texts[index % 2]])
        np.testing.assert_allclose(answer["vectors"], expected, rtol=0, atol=1e-5)
    # Texts that are refused do not fail the others of the batch.
    assert {status for status, _ in answers[20:]} == {400}


@pytest.mark.parametrize(
    ("path", "data", "status", "message"),
    [
        ("completions", b"{", 400, "no JSON"),
        ("completions", b"\xff", 400, "no JSON"),
        ("completions", b"[" * 100_000, 400, "no JSON"),
        ("completions", b"[]", 400, "no JSON object"),
        ("completions", b"{}", 400, "prompt is missing"),
        ("completions", b'{"prompt": 1}', 400, "prompt must be of type str, not 1"),
        ("completions", b'{"prompt": "A.", "max_sentences": 0}', 400, "must be 1 to 64"),
        ("completions", b'{"prompt": "A.", "max_sentences": true}', 400, "of type int"),
        ("completions", b'{"prompt": "A.", "temperature": -1}', 400, "temperature"),
        ("completions", b'{"prompt": "A.", "temperature": NaN}', 400, "temperature"),
        ("completions", b'{"prompt": "A.", "top_k": -1}', 400, "top_k"),
        ("completions", b'{"prompt": "A.", "seed": -1}', 400, "seed"),
        ("completions", b'{"prompt": "A.", "top_k": ' + DIGITS + b"}", 400, "top_k"),
        ("completions", b'{"prompt": "A.", "top_p": ' + DIGITS + b"}", 400, "top_p is too large"),
        ("completions", b'{"prompt": "A \\ud800"}', 400, "prompt has a lone surrogate at char"),
        ("completions", b'{"prompt": "A.", "stream": true}', 400, 'unknown field "stream"'),
        ("completions", b'{"prompt": "' + b"One fox. " * 500 + b'"}', 400, "sentences"),
        ("completions", b" " * (1 << 21), 413, "longer than"),
        ("completions", None, 405, "takes POST"),
        ("embeddings", b'{"input": []}', 400, "1 to 256 texts"),
        ("embeddings", b'{"input": [1]}', 400, "a text or a list of texts"),
        ("embeddings", b'{"input": ["A.", "\\udc00."]}', 400, "input has a lone surrogate at char"),
        ("elsewhere", b"{}", 404, "the endpoints are"),
    ],
)
def test_refusals(url: str, path: str, data: bytes | None, status: int, message: str) -> None:
    found, answer = ask(f"{url}/{path}", data=data)
    assert found == status, answer
    assert message in answer["error"]


class Picky:
    """A model that fails on some texts as no error of `sllm_ort` tells."""

    def encode(self, texts: list[str]) -> Any:
        if "bad" in texts:
            raise UnicodeEncodeError("utf-8", "bad", 0, 1, "surrogates not allowed")
        return np.zeros((len(texts), 2), np.float32)

    def session(self, text: str) -> str:
        self.encode([text])
        return text

    def generate_batch(self, sessions: list[str], **options: Any) -> list[Any]:
        raise OverflowError(options)


@pytest.fixture
def replica() -> Any:
    """A replica of that model, without Ray."""
    made = cast(Any, Sentences).func_or_class.__new__(cast(Any, Sentences).func_or_class)
    made.model = Picky()
    return made


def test_an_unknown_error_fails_alone(replica: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    first, bad, last = replica.embedded([["good"], ["good", "bad"], ["good", "good"]])
    assert (first, last) == ({"vectors": [[0, 0]]}, {"vectors": [[0, 0]] * 2})
    assert isinstance(bad, UnicodeEncodeError)
    monkeypatch.setattr(sllm_ort, "Session", str)
    requests = [Completion("good", Sampling()), Completion("bad", Sampling(top_k=1))]
    errors = [type(answer) for answer in replica.completed(requests)]
    assert errors == [OverflowError, UnicodeEncodeError]


def test_health(url: str) -> None:
    assert ask(f"{url}/health") == (200, {"model": "sllm-stories", "variant": "portable"})


@pytest.mark.parametrize("options", [{}, {"model": "m", "modle": "n"}, {"threads": "1"}])
def test_options(options: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="options are model"):
        app(options)
