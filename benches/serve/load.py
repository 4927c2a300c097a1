"""Load on a server with OpenAI's API: tokens/s and the time to the first sentence.

    python benches/serve/load.py http://127.0.0.1:8080 --clients 1 8 64

Each client asks for one completion after the other, as a stream. The table has a line for each
number of clients. Needs nothing but Python.
"""

import argparse
import asyncio
import json
import math
import re
import statistics
import sys
import time
from dataclasses import dataclass, field
from urllib.parse import urlsplit

PROMPTS = [
    "Once upon a time, there was a little fox named Tim. ",
    "Lily and her mom went to the park. It was a sunny day. ",
    "The old man had a big red boat. He liked to fish in the lake. ",
    "Tom was sad because he lost his ball. ",
    "One day, a bird saw a cat near the tree. The cat was hungry. ",
    "Anna wanted to bake a cake for her brother. ",
    "The dog ran home. ",
    "It was a cold night, and the wind was loud. ",
]
# A mark at the end of a sentence, and what may close it.
SENTENCE_END = re.compile(r"[.!?][\"')\]]*(\s|$)")


@dataclass
class Answer:
    """Times in seconds from the request."""

    first_text: float
    first_sentence: float
    tokens: int


@dataclass
class Load:
    """What the clients of one round saw."""

    clients: int
    seconds: float = 0.0
    answers: list[Answer] = field(default_factory=list)

    def tokens_per_second(self) -> float:
        return sum(answer.tokens for answer in self.answers) / self.seconds

    def record(self) -> dict[str, float]:
        sentence = [1000 * answer.first_sentence for answer in self.answers]
        text = [1000 * answer.first_text for answer in self.answers]
        return {
            "clients": self.clients,
            "answers": len(self.answers),
            "tokens_per_second": round(self.tokens_per_second(), 1),
            "first_text_ms_p50": round(statistics.median(text), 1),
            "first_text_ms_p99": round(percentile(text, 0.99), 1),
            "first_sentence_ms_p50": round(statistics.median(sentence), 1),
            "first_sentence_ms_p99": round(percentile(sentence, 0.99), 1),
        }


def percentile(values: list[float], part: float) -> float:
    """The smallest value that at least this part of them do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(part * len(ordered)) - 1)]


def has_sentence(text: str, words: int | None) -> bool:
    """Whether a sentence of the text is complete: it has ended, or has so many words if given."""
    if words is None:
        return SENTENCE_END.search(text) is not None
    return len(text.split()) >= words


async def complete(
    host: str, port: int, body: dict[str, object], words: int | None = None
) -> Answer:
    """Ask for a completion, and read its stream to the end."""
    data = json.dumps(body).encode()
    head = (
        f"POST /v1/completions HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: close\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(data)}\r\n\r\n"
    )
    started = time.perf_counter()
    reader, writer = await asyncio.open_connection(host, port)
    try:
        writer.write(head.encode() + data)
        status = await reader.readline()
        if b" 200 " not in status:
            raise RuntimeError(f"the server answers {status!r}: {await reader.read()!r}")
        text, chunks, tokens = "", 0, None
        first_text = first_sentence = 0.0
        async for line in reader:
            if not line.startswith(b"data: {"):
                continue
            chunk = json.loads(line.removeprefix(b"data: "))
            if "error" in chunk:
                raise RuntimeError(f"the server answers {chunk['error']}")
            tokens = (chunk.get("usage") or {}).get("completion_tokens", tokens)
            for choice in chunk["choices"]:
                if not choice["text"]:
                    continue
                chunks += 1
                text += choice["text"]
                now = time.perf_counter() - started
                first_text = first_text or now
                if not first_sentence and has_sentence(text, words):
                    first_sentence = now
    finally:
        writer.close()
    if not text:
        raise RuntimeError("the server says nothing")
    # A server that does not count sends a token in each chunk.
    whole = time.perf_counter() - started
    return Answer(first_text, first_sentence or whole, chunks if tokens is None else tokens)


async def run(
    url: str, clients: int, seconds: float, body: dict[str, object], words: int | None = None
) -> Load:
    """So many clients, each with one request at a time, for so many seconds.

    A sentence is one of so many `words`, if given: models of random weights end none.
    """
    parts = urlsplit(url)
    if parts.scheme != "http" or not parts.hostname:
        raise ValueError(f"{url} is no address such as http://127.0.0.1:8080")
    host, port = parts.hostname, parts.port or 80
    load = Load(clients)
    started = time.perf_counter()

    async def client(number: int) -> None:
        turn = number
        while time.perf_counter() - started < seconds:
            prompt = PROMPTS[turn % len(PROMPTS)]
            request = {**body, "prompt": prompt, "seed": turn}
            load.answers.append(await complete(host, port, request, words))
            turn += clients

    await asyncio.gather(*(client(number) for number in range(clients)))
    load.seconds = time.perf_counter() - started
    return load


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("url", help="address of the server, such as http://127.0.0.1:8080")
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 8, 64], metavar="N")
    parser.add_argument("--seconds", type=float, default=10, help="time of a round [10]")
    parser.add_argument(
        "--max-tokens", type=int, default=128, metavar="N", help="of an answer [128]"
    )
    parser.add_argument(
        "--field",
        action="append",
        default=[],
        metavar="NAME=JSON",
        help="a field of each request",
    )
    parser.add_argument("--json", action="store_true", help="print a JSON line for each round")
    arguments = parser.parse_args()
    body: dict[str, object] = {
        "max_tokens": arguments.max_tokens,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    for text in arguments.field:
        name, _, value = text.partition("=")
        body[name] = json.loads(value)
    asyncio.run(run(arguments.url, 1, 1, body))  # warm up
    if not arguments.json:
        print("clients | tokens/s | first text p50, p99 | first sentence p50, p99 | answers")
    for clients in arguments.clients:
        record = asyncio.run(run(arguments.url, clients, arguments.seconds, body)).record()
        if arguments.json:
            print(json.dumps(record), flush=True)
            continue
        print(
            f"{clients} | {record['tokens_per_second']:.0f}"
            f" | {record['first_text_ms_p50']:.1f}, {record['first_text_ms_p99']:.1f} ms"
            f" | {record['first_sentence_ms_p50']:.1f}, {record['first_sentence_ms_p99']:.1f} ms"
            f" | {record['answers']}",
            flush=True,
        )


if __name__ == "__main__":
    try:
        main()
    except (OSError, RuntimeError, ValueError) as error:
        sys.exit(f"error: {error}")
