"""Making the systems that were asked for."""

from __future__ import annotations

from pathlib import Path

from peers.bundle import RandomModel
from peers.errors import PeerError
from peers.kinds import KINDS
from peers.options import Options
from peers.sllm_ort import SllmOrt
from peers.system import Description, System
from peers.task import Task
from peers.worker_system import WorkerSystem


def make_systems(options: Options, folder: Path) -> list[System]:
    """The systems, not started, in the order of `KINDS`; workers put files into `folder`.

    Raises PeerError if a bundle is of another kind, or not of random weights.
    """
    return [_make(name, options, folder / name) for name in KINDS if name in options.names]


def _make(name: str, options: Options, folder: Path) -> System:
    kind = KINDS[name]
    sentences = kind.level == "sentences"
    bundle, wanted = (options.sllm, "sllm") if sentences else (options.opt, "opt")
    model = RandomModel.of_bundle(bundle)
    if model.config.kind != wanted:
        raise PeerError(f"{bundle}: is of kind {model.config.kind} (expected {wanted})")
    description = Description(name, model.config.name, *kind)
    if kind.ours:
        return SllmOrt(description, options.program, bundle, options.workload)
    return WorkerSystem(description, Task(model, options.workload, folder))
