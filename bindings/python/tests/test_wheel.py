"""The wheel in an environment of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from pathlib import Path

import pytest
from conftest import ROOT, STORIES


@pytest.fixture(scope="module")
def fresh_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python with the wheel, and what that depends on."""
    folder = Path(os.environ.get("SLLM_ORT_WHEELS", ROOT / "target/python-test/wheels"))
    (wheel,) = folder.glob("sllm_ort-*.whl")
    environment = tmp_path_factory.mktemp("environment")
    venv.create(environment, with_pip=True)
    python = environment / "bin/python"
    # The version that the project is tested with, as it is in the cache of pip.
    pinned = "onnxruntime==1.31.1"
    install = [str(python), "-m", "pip", "install", "--quiet", str(wheel), pinned]
    subprocess.run(install, check=True, env=clean())
    return python


def clean() -> dict[str, str]:
    """The environment without what could help to find the package or the library."""
    removed = ("PYTHONPATH", "VIRTUAL_ENV", "CONDA_PREFIX", "ORT_DYLIB_PATH")
    return {name: value for name, value in os.environ.items() if name not in removed}


def test_the_example_runs(fresh_python: Path, tmp_path: Path) -> None:
    script = ROOT / "bindings/python/examples/story.py"
    command = [fresh_python, script, STORIES]
    done = subprocess.run(
        command, cwd=tmp_path, check=True, capture_output=True, text=True, env=clean()
    )
    assert done.stderr == ""
    *story, shape, happy, sad = done.stdout.splitlines()
    assert "".join(story)
    assert shape == "(2, 256) float32"
    assert [happy, sad] == ["The fox was happy. ", "The fox was sad. "]


def printed(
    python: Path, script: str, folder: Path, variables: dict[str, str] | None = None
) -> str:
    """What a script prints in this folder, with these variables besides."""
    done = subprocess.run(
        [python, "-c", script],
        cwd=folder,
        check=True,
        capture_output=True,
        text=True,
        env={**clean(), **(variables or {})},
    )
    return done.stdout


def test_the_library_is_that_of_the_package(fresh_python: Path, tmp_path: Path) -> None:
    script = f"""
import sys
from pathlib import Path
import sllm_ort
sllm_ort.Model({str(STORIES)!r})
assert "onnxruntime" not in sys.modules
maps = Path("/proc/self/maps").read_text()
print({{line.split()[-1] for line in maps.splitlines() if "libonnxruntime." in line}})
"""
    assert str(fresh_python.parents[1]) in printed(fresh_python, script, tmp_path)


def test_the_variable_names_another_library(fresh_python: Path, tmp_path: Path) -> None:
    script = f"""
import sllm_ort
try:
    sllm_ort.Model({str(STORIES)!r})
except sllm_ort.OnnxRuntimeError as error:
    print(error)
"""
    variables = {"ORT_DYLIB_PATH": "/nowhere/lib.so"}
    output = printed(fresh_python, script, tmp_path, variables)
    assert "/nowhere/lib.so: no such file" in output


@pytest.mark.skipif(sys.platform != "linux", reason="names of wheels differ")
def test_the_wheel_is_for_all_versions_of_python() -> None:
    folder = Path(os.environ.get("SLLM_ORT_WHEELS", ROOT / "target/python-test/wheels"))
    (wheel,) = folder.glob("sllm_ort-*.whl")
    assert "-cp310-abi3-" in wheel.name
