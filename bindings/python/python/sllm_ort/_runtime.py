"""Finding the library of the installed package onnxruntime."""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec
from pathlib import Path

_PATTERNS = {"win32": "onnxruntime.dll", "darwin": "libonnxruntime*.dylib"}


def installed_library() -> Path | None:
    """The library of onnxruntime or onnxruntime-gpu; None if the environment names another.

    The package is not imported: its module has a second copy of ONNX Runtime in it.
    """
    if os.environ.get("ORT_DYLIB_PATH"):
        return None
    spec = find_spec("onnxruntime")
    if spec is None:
        return None
    pattern = _PATTERNS.get(sys.platform, "libonnxruntime.so*")
    for folder in spec.submodule_search_locations or ():
        libraries = sorted((Path(folder) / "capi").glob(pattern))
        found = [library for library in libraries if "providers" not in library.name]
        if found:
            return found[-1].resolve()
    return None
