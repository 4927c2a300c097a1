"""Our server beside llama-cpp-python's, under the same load, in turn.

    PYTHONPATH=export:benches python -m serve.compare --binary target/release/sllm-ort

Ours has an SLLM, theirs has GPT-2 with OPT's dimensions; both have random weights, the tokenizer
of `peers.byte_level`, and generate greedily. Prints a table, writes JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

from peers.llama_gpt2 import FILE_TYPES, write_quantized
from peers.machine import environment, machine, versions
from peers.random_model import RandomModel
from peers.report import write
from peers.system import PeerError
from serve.load import run

HOST = "127.0.0.1"
START_SECONDS = 120.0
"""Time limit for the start of a server."""
_COMMON: dict[str, object] = {"stream": True, "temperature": 0}


class ServerError(Exception):
    """A server that does not start; the message is the reason, in one line."""


@dataclass(frozen=True)
class Server:
    """A server's command line, without its port, and fields of its requests."""

    name: str
    command: tuple[str, ...]
    fields: dict[str, object]


def ours(binary: Path, bundle: Path, variant: str, threads: int) -> Server:
    """sllm-ort with a variant of a bundle."""
    command = (binary, "serve", "--model", bundle, "--variant", variant, "--threads", threads)
    fields = _COMMON | {"ignore_eos": True, "stream_options": {"include_usage": True}}
    return Server(f"sllm-ort {variant}", tuple(map(str, command)), fields)


def llama(model: Path, threads: int, context: int) -> Server:
    """llama-cpp-python with a GGUF file.

    By default it cuts an answer short as soon as another request comes. It continues one text at a
    time, however many wait.
    """
    options = {
        "--model": model,
        "--n_ctx": context,
        "--n_threads": threads,
        "--n_threads_batch": threads,
        "--interrupt_requests": False,
        "--logits_all": False,
        "--verbose": False,
    }
    pairs = (str(part) for pair in options.items() for part in pair)
    command = (sys.executable, "-m", "llama_cpp.server", *pairs)
    # It ends no text: the random weights hardly ever choose eos.
    return Server(f"llama-cpp-python {model.stem.upper()}", command, dict(_COMMON))


@contextmanager
def started(server: Server, threads: int, log: Path) -> Iterator[str]:
    """The address of a running server, which ends with the context."""
    port = _free_port()
    with log.open("w") as stream:
        process = subprocess.Popen(
            [*server.command, "--host", HOST, "--port", str(port)],
            stdout=stream,
            stderr=stream,
            env=environment(threads),
        )
    url = f"http://{HOST}:{port}"
    try:
        _wait(process, f"{url}/v1/models", server.name, log)
        yield url
    finally:
        process.kill()
        process.wait()


def _free_port() -> int:
    with socket.socket() as found:
        found.bind((HOST, 0))
        port: int = found.getsockname()[1]
    return port


def _wait(process: subprocess.Popen[bytes], url: str, name: str, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            printed = log.read_text(errors="replace").strip().splitlines() or ["it printed nothing"]
            raise ServerError(f"{name}: ended with status {process.returncode}: {printed[-1]}")
        try:
            with urlopen(url, timeout=5):
                return
        except (URLError, OSError):
            time.sleep(0.2)
    raise ServerError(f"{name}: did not start in {START_SECONDS:.0f} s")


def measure(options: argparse.Namespace, servers: Sequence[Server], folder: Path) -> list[Any]:
    """Start all servers; load each in turn. Records, with the server's name and the round."""
    records = []
    with ExitStack() as stack:
        urls = [
            stack.enter_context(started(server, options.threads, folder / f"{number}.txt"))
            for number, server in enumerate(servers)
        ]
        bodies = [server.fields | {"max_tokens": options.max_tokens} for server in servers]
        for url, body in zip(urls, bodies, strict=True):
            asyncio.run(run(url, 1, 1, body, options.sentence_words))  # warm up
        for number in range(1, options.rounds + 1):
            for clients in options.clients:
                for server, url, body in zip(servers, urls, bodies, strict=True):
                    time.sleep(options.pause)
                    load = asyncio.run(
                        run(url, clients, options.seconds, body, options.sentence_words)
                    )
                    record = {"server": server.name, "round": number} | load.record()
                    print(f"compare: {json.dumps(record)}", file=sys.stderr, flush=True)
                    records.append(record)
    return records


def table(records: Sequence[dict[str, Any]]) -> str:
    """A line for each server and number of clients: medians of the rounds."""
    lines = ["server | clients | tokens/s | first sentence p50, p99 | answers"]
    groups: dict[tuple[str, int], list[dict[str, Any]]] = {}
    for record in records:
        groups.setdefault((record["server"], record["clients"]), []).append(record)
    for (server, clients), rounds in sorted(groups.items(), key=lambda item: item[0][1]):
        speed, half, most = (
            statistics.median(record[name] for record in rounds)
            for name in ("tokens_per_second", "first_sentence_ms_p50", "first_sentence_ms_p99")
        )
        answers = sum(record["answers"] for record in rounds)
        lines.append(f"{server} | {clients} | {speed:.0f} | {half:.0f}, {most:.0f} ms | {answers}")
    return "\n".join(lines)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="compare", description=(__doc__ or "").splitlines()[0])
    add = parser.add_argument
    add("--binary", type=Path, default=Path("target/release/sllm-ort"), help="sllm-ort")
    add("--sllm", type=Path, required=True, metavar="DIR", help="bundle of an SLLM, for sllm-ort")
    add("--opt", type=Path, required=True, metavar="DIR", help="bundle of an OPT model, for both")
    add("--variants", nargs="+", default=["cpu-int8", "cpu-int4"], metavar="NAME")
    add("--precisions", nargs="+", choices=list(FILE_TYPES), default=list(FILE_TYPES))
    add("--clients", type=int, nargs="+", default=[1, 8], metavar="N")
    add("--rounds", type=int, default=3, metavar="N")
    add("--seconds", type=float, default=10, help="time of each load (default: %(default)s)")
    add("--pause", type=float, default=0.5, help="rest before each load (default: %(default)s)")
    add("--max-tokens", type=int, default=128, help="of an answer (default: %(default)s)")
    add("--sentence-words", type=int, default=10, help="of a sentence (default: %(default)s)")
    add("--context", type=int, default=512, help="of llama.cpp (default: %(default)s)")
    add("--threads", type=int, default=2, help="for all servers (default: %(default)s)")
    add("--out", type=Path, default=Path("target/serve-peers.json"), help="results as JSON")
    return parser


def main() -> None:
    """Measure, print, write."""
    options = _parser().parse_args()
    with tempfile.TemporaryDirectory(prefix="serve-") as name:
        folder = Path(name)
        servers = [
            ours(options.binary, options.sllm, variant, options.threads)
            for variant in options.variants
        ]
        model = RandomModel.of_bundle(options.opt)
        for precision in options.precisions:
            path = write_quantized(model, folder, precision, options.threads)
            servers.append(llama(path, options.threads, options.context))
        found = machine()
        records = measure(options, servers, folder)
    print(table(records), flush=True)
    value = {
        "format_version": 1,
        "machine": found,
        "versions": versions("llama-cpp-python"),
        "max_tokens": options.max_tokens,
        "sentence_words": options.sentence_words,
        "threads": options.threads,
        "seconds": options.seconds,
        "records": records,
    }
    write(options.out, value)
    print(f"compare: results: {options.out}", file=sys.stderr)


if __name__ == "__main__":
    try:
        main()
    except (ServerError, PeerError, OSError, RuntimeError, ValueError) as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit("error: interrupted")
