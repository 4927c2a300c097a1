"""The examples of README and docs/serving.md, as a reader would run them."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from server import served

TEXT = Path("docs/serving.md").read_text(encoding="utf-8")
WRITTEN_ADDRESS = "http://127.0.0.1:8080"


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with served() as address:
        yield address


def run(command: list[str], folder: Path) -> str:
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_commands(address: str, tmp_path: Path) -> None:
    session = ""
    answers = []
    for block in blocks("sh"):
        for command in block.replace("\\\n", "").splitlines():
            if not command.startswith("curl "):
                assert command == "sllm-ort serve --model models/sllm-stories"
                continue
            command = command.replace(WRITTEN_ADDRESS, address).replace("SESSION", session)
            answer = run(["sh", "-c", command + " --fail-with-body"], tmp_path)
            found = re.search(r"sess-[0-9a-f]{32}", answer)
            session = session or (found[0] if found else "")
            answers.append(answer)
    assert '"finish_reason"' in answers[0]
    assert any('"type":"sentence"' in answer for answer in answers)
    assert (tmp_path / "story.session").stat().st_size > 1000


def test_readme(address: str, tmp_path: Path) -> None:
    text = Path("README.md").read_text(encoding="utf-8")
    (block,) = [
        block for block in re.findall(r"```console\n(.*?)```", text, re.DOTALL) if "curl" in block
    ]
    commands = re.split(r"^\$ ", block.replace(WRITTEN_ADDRESS, address), flags=re.MULTILINE)[1:]
    streamed, vectors = (
        run(["sh", "-c", f"{command.strip()} --fail-with-body"], tmp_path) for command in commands
    )
    assert streamed.count("data: ") > 2
    assert vectors.count('"embedding"') >= 2


def test_python(address: str, tmp_path: Path) -> None:
    (example,) = blocks("python")
    example += "\nassert len(vectors.data[0].embedding) == 256\n"
    assert run([sys.executable, "-c", example.replace(WRITTEN_ADDRESS, address)], tmp_path)
