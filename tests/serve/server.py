"""The program as a server of the shipped model."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

BINARY = os.environ.get("SLLM_ORT_BINARY", "target/debug/sllm-ort")


@contextmanager
def served(*options: str) -> Iterator[str]:
    """Its address, on a free port; it must end well."""
    command = [BINARY, "serve", "--model", "models/sllm-stories", "--port", "0", *options]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert server.stdout
    yield server.stdout.readline().removeprefix("listening on ").strip()
    server.terminate()
    assert server.wait(60) == 0
