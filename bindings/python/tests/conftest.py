"""What the tests share."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
import sllm_ort

ROOT = Path(__file__).resolve().parents[3]
TINY = ROOT / "tests/golden/bundle"
TINY_OPT = ROOT / "tests/golden/bundle-opt"
TINY_SVAE = ROOT / "tests/golden/bundle-svae"
STORIES = ROOT / "models/sllm-stories"
PROMPT = "Once upon a time, there was a little fox. "


def program(*arguments: str) -> list[dict[str, Any]]:
    """The lines of JSON that the command line program prints."""
    binary = os.environ.get("SLLM_ORT_BINARY", ROOT / "target/debug/sllm-ort")
    environment = {k: v for k, v in os.environ.items() if not k.startswith("SLLM_ORT_")}
    command = [str(binary), *arguments, "--format", "json"]
    done = subprocess.run(command, capture_output=True, check=True, text=True, env=environment)
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.fixture(scope="session")
def tiny() -> sllm_ort.Model:
    return sllm_ort.Model(TINY, variant="portable")


@pytest.fixture(scope="session")
def stories() -> sllm_ort.Model:
    return sllm_ort.Model(STORIES, variant="portable")
