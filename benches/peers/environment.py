"""Environment of the processes that are measured."""

from __future__ import annotations

import os

_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
_OTHER = ("KMP_", "GOMP_", "OMP_", "MKL_", "SLLM_ORT_")
"""Beginnings of variables that change how fast a system is, and are not asked for here."""


def environment(threads: int) -> dict[str, str]:
    """This process's variables, with the same number of threads for all, and without what else
    would favour one of them; nothing is looked for on the network."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_OTHER)}
    offline = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}
    return kept | offline | dict.fromkeys(_THREADS, str(threads))
