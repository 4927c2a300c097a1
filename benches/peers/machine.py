"""The machine: what the results report of it, and the environment of the measured processes."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

_REPORTED = (
    *("CT2_", "DNNL_", "ONEDNN_", "ATEN_", "GGML_", "LLAMA_"),
    *("MALLOC_", "LD_PRELOAD", "ORT_"),
)
"""Prefixes of variables that change a system's speed; they are kept and reported."""
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
_REMOVED = ("KMP_", "GOMP_", "OMP_", "MKL_", "SLLM_ORT_")
"""Prefixes of variables that change a system's speed; they are removed or set for all."""


def machine() -> dict[str, Any]:
    """Describe the machine as a JSON object.

    `cores` are those of the machine, `cores_usable` those that this process may use; the load
    average is over a minute.
    """
    return {
        "cpu": cpu_model(_read(Path("/proc/cpuinfo"))) or platform.processor() or None,
        "cores": os.cpu_count(),
        "cores_usable": _usable(),
        "memory_bytes": _memory(),
        "load_average": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": platform.python_version(),
        "environment": {
            name: value for name, value in sorted(os.environ.items()) if name.startswith(_REPORTED)
        },
    }


def cpu_model(cpuinfo: str) -> str | None:
    """The processor's name in the text of /proc/cpuinfo, with family and model: virtual machines
    give different processors one name."""
    fields: dict[str, str] = {}
    for line in cpuinfo.splitlines():
        key, _, value = line.partition(":")
        fields.setdefault(key.strip(), value.strip())
    if "model name" not in fields:
        return None
    numbers = [f"{key} {fields[key]}" for key in ("cpu family", "model") if key in fields]
    return f"{fields['model name']} ({', '.join(numbers)})" if numbers else fields["model name"]


def environment(threads: int) -> dict[str, str]:
    """The variables of a measured process: `threads` for all systems, no network, and none of
    those that favour one system."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_REMOVED)}
    offline = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}
    return kept | offline | dict.fromkeys(_THREADS, str(threads))


def versions(*packages: str) -> dict[str, str]:
    """The versions of those of the packages that are installed."""
    found = {}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.is_file() else ""


def _usable() -> int | None:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def _memory() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return None
