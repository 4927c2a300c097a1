"""Serve completions and sentence vectors with Ray Serve.

    serve run --app-dir examples/ray --working-dir examples/ray \\
      serve_app:app model=models/sllm-stories

    curl http://127.0.0.1:8000/completions -H 'content-type: application/json' \\
      -d '{"prompt": "Once upon a time, there was a little fox. ", "max_sentences": 4}'
    curl http://127.0.0.1:8000/embeddings -H 'content-type: application/json' \\
      -d '{"input": ["The fox was happy.", "The fox was sad."]}'

Each replica loads the model once. Requests that wait for a replica at the same time are run
together. More options: variant=cpu-int8, threads=1, replicas=2.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, cast

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")

import sllm_ort
from ray import serve
from starlette.requests import Request
from starlette.responses import JSONResponse

MAX_BODY = 1 << 20
MAX_TEXTS = 256
MAX_SENTENCES = 64
MAX_BATCH = 32
BATCH_WAIT = 0.01

T = TypeVar("T")


class RequestError(Exception):
    """A request that is refused, with its status."""

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class Sampling:
    """What must be equal for prompts to be continued together."""

    max_sentences: int = 16
    temperature: float | None = None
    top_k: int | None = None
    top_p: float | None = None
    seed: int | None = None


@dataclass(frozen=True)
class Completion:
    """A request for a continuation."""

    prompt: str
    sampling: Sampling


def completion_of(body: dict[str, Any]) -> Completion:
    """Check the fields of a request for a continuation."""
    fields = {"prompt", "max_sentences", "temperature", "top_k", "top_p", "seed"}
    known_fields(body, fields)
    sentences = field(body, "max_sentences", int, Sampling.max_sentences)
    if not 1 <= sentences <= MAX_SENTENCES:
        raise RequestError(f"max_sentences must be 1 to {MAX_SENTENCES}, not {sentences}")
    temperature = field(body, "temperature", float, None)
    top_p = field(body, "top_p", float, None)
    sampling = Sampling(
        max_sentences=sentences,
        temperature=temperature,
        top_k=field(body, "top_k", int, None),
        top_p=top_p,
        seed=field(body, "seed", int, None),
    )
    return Completion(encodable("prompt", field(body, "prompt", str)), sampling)


def texts_of(body: dict[str, Any]) -> list[str]:
    """Check the fields of a request for vectors."""
    known_fields(body, {"input"})
    texts = body.get("input")
    texts = [texts] if isinstance(texts, str) else texts
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise RequestError("input must be a text or a list of texts")
    if not 1 <= len(texts) <= MAX_TEXTS:
        raise RequestError(f"input must hold 1 to {MAX_TEXTS} texts, not {len(texts)}")
    return [encodable("input", text) for text in texts]


def encodable(name: str, text: str) -> str:
    """Refuse a text with half of a surrogate pair, which JSON can hold and UTF-8 cannot."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise RequestError(f"{name} has a lone surrogate at character {error.start}") from error
    return text


def known_fields(body: dict[str, Any], known: set[str]) -> None:
    """Refuse fields that mean nothing."""
    for name in body:
        if name not in known:
            raise RequestError(
                f"unknown field {json.dumps(name)}; known: {', '.join(sorted(known))}"
            )


REQUIRED: Any = object()


def field(body: dict[str, Any], name: str, kind: type, default: Any = REQUIRED) -> Any:
    """A field of this type. Numbers without a fraction are floats too, booleans are no numbers."""
    value = body.get(name)
    if value is None:
        if default is REQUIRED:
            raise RequestError(f"{name} is missing")
        return default
    allowed = (int, float) if kind is float else (kind,)
    if isinstance(value, bool) or not isinstance(value, allowed):
        raise RequestError(f"{name} must be of type {kind.__name__}, not {json.dumps(value)}")
    try:
        return kind(value)
    except OverflowError as error:
        raise RequestError(f"{name} is too large") from error


async def body_of(request: Request) -> dict[str, Any]:
    """The JSON object of a request."""
    data = bytearray()
    async for piece in request.stream():
        data += piece
        if len(data) > MAX_BODY:
            raise RequestError(f"the body is longer than {MAX_BODY} bytes", 413)
    try:
        body = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise RequestError(f"the body is no JSON: {error}") from error
    if not isinstance(body, dict):
        raise RequestError("the body is no JSON object")
    return body


def each_alone(items: list[T], work: Callable[[T], Any]) -> list[Any]:
    """The result or the error of each item."""
    results: list[Any] = []
    for item in items:
        try:
            results.append(work(item))
        except Exception as error:
            results.append(error)
    return results


@serve.deployment(max_ongoing_requests=2 * MAX_BATCH, max_queued_requests=8 * MAX_BATCH)
class Sentences:
    """A replica: one model, and the requests that come to it."""

    def __init__(self, model: str, variant: str | None, threads: int) -> None:
        self.model = sllm_ort.Model(model, variant=variant, threads=threads)

    async def __call__(self, request: Request) -> JSONResponse:
        """Answer a request."""
        try:
            answer = await self.answer(request)
        except RequestError as error:
            return JSONResponse({"error": str(error)}, error.status)
        except sllm_ort.ArgumentError as error:
            return JSONResponse({"error": str(error)}, 400)
        return JSONResponse(answer)

    async def answer(self, request: Request) -> dict[str, Any]:
        """What is answered with status 200."""
        path = request.url.path.rstrip("/")
        if path in ("", "/health") and request.method == "GET":
            return {"model": self.model.name, "variant": self.model.variant}
        if path not in ("/completions", "/embeddings"):
            raise RequestError("the endpoints are /completions, /embeddings and /health", 404)
        if request.method != "POST":
            raise RequestError(f"{path} takes POST", 405)
        body = await body_of(request)
        if path == "/completions":
            return unwrapped(await self.complete(completion_of(body)))
        return unwrapped(await self.embed(texts_of(body)))

    # One batch at a time for each method: the work is in a thread, and uses the same graphs.
    @serve.batch(max_batch_size=MAX_BATCH, batch_wait_timeout_s=BATCH_WAIT)
    async def complete(self, requests: list[Completion]) -> list[dict[str, Any] | Exception]:
        """Continue the prompts of several requests together."""
        return await asyncio.to_thread(self.completed, requests)

    @serve.batch(max_batch_size=MAX_BATCH, batch_wait_timeout_s=BATCH_WAIT)
    async def embed(self, requests: list[list[str]]) -> list[dict[str, Any] | Exception]:
        """Embed the texts of several requests together."""
        return await asyncio.to_thread(self.embedded, requests)

    def completed(self, requests: list[Completion]) -> list[dict[str, Any] | Exception]:
        """Continue prompts; those with the same options in the same runs."""
        answers: dict[int, Any] = {}
        groups: dict[Any, list[int]] = {}
        for index, request in enumerate(requests):
            # A seed is one request's: prompts of a batch have consecutive seeds.
            alone = index if request.sampling.seed is not None else None
            groups.setdefault((request.sampling, alone), []).append(index)
        for (sampling, _), group in groups.items():
            prompts = [requests[index].prompt for index in group]
            answers.update(zip(group, self.continued(prompts, sampling), strict=True))
        return [answers[index] for index in range(len(requests))]

    def continued(self, prompts: list[str], sampling: Sampling) -> list[Any]:
        """Continue prompts with the same options. A prompt that is refused fails alone."""
        # Each prompt is appended first, since a batch is refused whole.
        sessions = each_alone(prompts, self.model.session)
        good = [session for session in sessions if isinstance(session, sllm_ort.Session)]
        options = {name: value for name, value in vars(sampling).items() if value is not None}
        try:
            done = iter(self.model.generate_batch(good, **options) if good else [])
        except Exception as error:
            return [error if isinstance(s, sllm_ort.Session) else s for s in sessions]
        return [
            completion_answer(next(done)) if isinstance(session, sllm_ort.Session) else session
            for session in sessions
        ]

    def embedded(self, requests: list[list[str]]) -> list[dict[str, Any] | Exception]:
        """Embed texts, each one sentence. A request that is refused fails alone."""
        try:
            vectors = self.model.encode([text for texts in requests for text in texts])
        except Exception:
            return each_alone(requests, lambda texts: vector_answer(self.model.encode(texts)))
        answers: list[dict[str, Any] | Exception] = []
        start = 0
        for texts in requests:
            answers.append(vector_answer(vectors[start : start + len(texts)]))
            start += len(texts)
        return answers


def completion_answer(continuation: sllm_ort.Continuation) -> dict[str, Any]:
    """A continuation as JSON."""
    return {
        "text": continuation.text,
        "sentences": [sentence.text for sentence in continuation.sentences],
        "finish_reason": continuation.finish_reason,
    }


def vector_answer(vectors: Any) -> dict[str, Any]:
    """Vectors as JSON."""
    return {"vectors": vectors.tolist()}


def unwrapped(answer: Any) -> dict[str, Any]:
    """An answer, or its error raised in the request that it belongs to."""
    if isinstance(answer, Exception):
        raise answer
    return dict(answer)


def app(options: dict[str, str]) -> serve.Application:
    """The application, with the options of the command line."""
    unknown = options.keys() - {"model", "variant", "threads", "replicas"}
    if unknown or "model" not in options:
        raise ValueError("options are model=FOLDER (needed), variant=, threads= and replicas=")
    threads = int(options.get("threads", "1"))
    # The decorator makes it a deployment, which its annotations do not tell.
    deployment = cast(Any, Sentences).options(
        num_replicas=int(options.get("replicas", "1")), ray_actor_options={"num_cpus": threads}
    )
    # The path is that of this process, and must be the same on all machines.
    path = str(Path(options["model"]).resolve())
    bound: serve.Application = deployment.bind(path, options.get("variant"), threads)
    return bound
