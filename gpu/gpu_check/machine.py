"""What machine this is, where its CUDA libraries are, and how much GPU memory is in use."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
import shutil
import site
import subprocess
import sysconfig
import threading
from pathlib import Path
from types import TracebackType

from gpu_check.steps import Result, StepError, call

_PACKAGES = ("torch", "numpy", "onnx", "onnxruntime", "tokenizers", "safetensors")
_GPU_FIELDS = ("name", "driver_version", "memory.total", "compute_cap", "power.limit")
_QUERY_SECONDS = 20.0
_POLL_SECONDS = 0.2


def describe(provider: str) -> Result:
    """System, processor, packages, and the GPU with its driver if one is to be used."""
    found: Result = {
        "system": platform.platform(),
        "python": platform.python_version(),
        "processor": _processor(),
        "processors": os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "packages": {name: _version(name) for name in _PACKAGES},
        "nvcc": _nvcc(),
        "gpu": None,
    }
    if provider != "cpu":
        try:
            line = _smi(",".join(_GPU_FIELDS)).splitlines()[0]
        except (StepError, OSError, IndexError) as error:
            raise StepError(f"no GPU is told of by nvidia-smi: {error}", found) from error
        values = (value.strip() for value in line.split(","))
        found["gpu"] = dict(zip(_GPU_FIELDS, values, strict=True))
    return found


def library_folders() -> list[Path]:
    """Folders with CUDA's libraries: those of Python's packages, then the system's."""
    sites = [Path(sysconfig.get_path("purelib")), Path(sysconfig.get_path("platlib"))]
    sites += map(Path, site.getsitepackages())
    torch = importlib.util.find_spec("torch")
    places = torch.submodule_search_locations if torch is not None else None
    sites += (Path(place).parent for place in places or ())
    found: list[Path] = []
    for folder in sites:
        found += sorted(folder.glob("nvidia/*/lib"))
        found.append(folder / "torch" / "lib")
    found += map(Path, ("/usr/local/cuda/lib64", "/usr/local/nvidia/lib64"))
    return list(dict.fromkeys(folder for folder in found if folder.is_dir()))


def missing_libraries(library: Path, env: dict[str, str]) -> list[str]:
    """The libraries that the loader does not find for this one."""
    lines = call(["ldd", library], env, _QUERY_SECONDS).splitlines()
    return [line.split("=>")[0].strip() for line in lines if "not found" in line]


class GpuMemory:
    """The most GPU memory in use, in MiB, over what was in use before."""

    def __init__(self, provider: str) -> None:
        self._provider = provider
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._poll, daemon=True)
        self._before: int | None = None
        self._most = 0

    def __enter__(self) -> GpuMemory:
        if self._provider != "cpu":
            self._before = _used()
            self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    def most(self) -> int | None:
        """None where it is not known."""
        return None if self._before is None else max(0, self._most - self._before)

    def _poll(self) -> None:
        while not self._stop.wait(_POLL_SECONDS):
            self._most = max(self._most, _used() or 0)


def _used() -> int | None:
    try:
        return int(_smi("memory.used", "nounits").splitlines()[0])
    except (StepError, OSError, ValueError, IndexError):
        return None


def _smi(fields: str, units: str = "") -> str:
    form = "csv,noheader" + (f",{units}" if units else "")
    words = ["nvidia-smi", f"--query-gpu={fields}", f"--format={form}"]
    return call(words, os.environ, _QUERY_SECONDS)


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _processor() -> str | None:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return None


def _nvcc() -> str | None:
    program = shutil.which("nvcc") or "/usr/local/cuda/bin/nvcc"
    try:
        told = subprocess.run([program, "--version"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return told.stdout.strip().splitlines()[-1]
