"""The machine, for whoever reads the results."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Any

_TELLING = ("CT2_", "DNNL_", "ONEDNN_", "ATEN_", "MALLOC_", "LD_PRELOAD", "ORT_")
"""Beginnings of variables that change how fast a system is, and were left as they are."""


def machine() -> dict[str, Any]:
    """Processor, cores (of the machine, and those that this process may use), memory in bytes,
    load average over a minute, system, Python, and variables that matter."""
    return {
        "cpu": cpu_model(_read(Path("/proc/cpuinfo"))) or platform.processor() or None,
        "cores": os.cpu_count(),
        "cores_usable": _usable(),
        "memory_bytes": _memory(),
        "load_average": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": platform.python_version(),
        "environment": {
            name: value for name, value in sorted(os.environ.items()) if name.startswith(_TELLING)
        },
    }


def cpu_model(cpuinfo: str) -> str | None:
    """The processor's name in the text of /proc/cpuinfo, with family and model, which tell apart
    what a virtual machine calls by one name."""
    fields: dict[str, str] = {}
    for line in cpuinfo.splitlines():
        key, _, value = line.partition(":")
        fields.setdefault(key.strip(), value.strip())
    if "model name" not in fields:
        return None
    numbers = [f"{key} {fields[key]}" for key in ("cpu family", "model") if key in fields]
    return f"{fields['model name']} ({', '.join(numbers)})" if numbers else fields["model name"]


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.is_file() else ""


def _usable() -> int | None:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def _memory() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return None
