"""Measures the memory that an export of SLLM-1.3B-H2 takes, with random weights.

    PYTHONPATH=export python export/measure_memory.py [--folder DIR] [--config FILE] [--keep]

Writes a checkpoint of the configuration's shapes as mmengine does (zip-format `.pth`, 6.8 GB for
the default), one tensor at a time, exports it with each variant in a process of its own, and
prints the peaks. DIR needs room for the checkpoint and for one bundle of the same size.
"""

from __future__ import annotations

import argparse
import pickle
import shutil
import subprocess
import sys
import tempfile
import threading
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sllm_export.checkpoint.expected import expected_shapes
from sllm_export.checkpoint.random_weights import RandomStateDict
from sllm_export.checkpoint.state_dict import StateDict
from sllm_export.config import load_config
from sllm_export.errors import ExportError

EXPORT = Path(__file__).resolve().parent
DEFAULT_CONFIG = EXPORT.parent / "configs" / "sllm-1.3b-h2.json"
TOKENIZER = EXPORT.parent / "models" / "sllm-stories" / "tokenizer.json"
VARIANTS = ("portable", "cpu-int8")
LIMIT = 1.5
"""What an export may take, as a multiple of the checkpoint."""
_SAMPLE_SECONDS = 0.2
_GIB = 2**30
_CHUNK_ROWS = 4096


@dataclass
class Peaks:
    """Largest sizes seen, in bytes. `resident` has the mapped pages of files too, which the system
    takes back whenever it needs room; `anonymous` is what nothing but swap could take."""

    resident: int = 0
    anonymous: int = 0

    def take(self, status: dict[str, int]) -> None:
        """Takes in one sample of /proc/PID/status."""
        self.resident = max(self.resident, status.get("VmHWM", 0))
        self.anonymous = max(self.anonymous, status.get("RssAnon", 0))


def write_torch_file(weights: StateDict, path: Path) -> None:
    """A `.pth` of float32 tensors under `state_dict`, without ever holding two of them."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
        archive.writestr("archive/data.pkl", _pickled(weights))
        archive.writestr("archive/byteorder", "little")
        for index, name in enumerate(weights.shapes):
            with archive.open(f"archive/data/{index}", "w", force_zip64=True) as entry:
                entry.write(np.ascontiguousarray(weights.load(name)).data.cast("B"))
        archive.writestr("archive/version", "3\n")


def _pickled(weights: StateDict) -> bytes:
    """{"meta": {}, "state_dict": {name: tensor}}, as `torch.save` pickles it."""
    out = bytearray(b"\x80\x02}(" + _text("meta") + b"}" + _text("state_dict") + b"}(")
    for index, (name, shape) in enumerate(weights.shapes.items()):
        count = int(np.prod(shape))
        stride = [int(np.prod(shape[axis + 1 :])) for axis in range(len(shape))]
        out += _text(name) + b"ctorch._utils\n_rebuild_tensor_v2\n("
        out += b"(" + _text("storage") + b"ctorch\nFloatStorage\n" + _text(str(index))
        out += _text("cpu") + _number(count) + b"tQ" + _number(0)
        out += _tuple(shape) + _tuple(stride) + b"\x89ccollections\nOrderedDict\n)RtR"
    return bytes(out + b"uu.")


def _text(value: str) -> bytes:
    data = value.encode()
    return b"X" + len(data).to_bytes(4, "little") + data


def _number(value: int) -> bytes:
    # The operations of a pickled number, without those of the pickle around it.
    return pickle.dumps(value, 2)[2:-1]


def _tuple(values: tuple[int, ...] | list[int]) -> bytes:
    return b"(" + b"".join(map(_number, values)) + b"t"


def run_measured(arguments: list[str]) -> Peaks:
    """Runs the exporter in a process; returns its peaks. Ends this process if it fails."""
    command = [sys.executable, "-m", "sllm_export", *arguments]
    peaks = Peaks()
    with subprocess.Popen(command, cwd=EXPORT) as process:
        done = threading.Event()
        status = Path(f"/proc/{process.pid}/status")
        sampler = threading.Thread(target=_sample, args=(status, peaks, done))
        sampler.start()
        code = process.wait()
        done.set()
        sampler.join()
    if code:
        raise SystemExit(f"the exporter ended with status {code}")
    return peaks


def _sample(status: Path, peaks: Peaks, done: threading.Event) -> None:
    while not done.wait(_SAMPLE_SECONDS):
        try:
            lines = status.read_text().splitlines()
        except OSError:
            return
        fields = (line.split() for line in lines if line.endswith(" kB"))
        peaks.take({name.rstrip(":"): int(size) * 1024 for name, size, _ in fields})


def main() -> None:
    """Writes the checkpoint, exports it and prints the peaks."""
    parser = argparse.ArgumentParser(description="Measures the exporter's memory.")
    parser.add_argument("--config", type=Path, default=DEFAULT_CONFIG)
    parser.add_argument("--tokenizer", type=Path, default=TOKENIZER, help="any that fits")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()))
    parser.add_argument("--keep", action="store_true", help="keep checkpoint and bundles")
    arguments = parser.parse_args()
    try:
        _measure(arguments)
    except (ExportError, OSError) as error:
        raise SystemExit(f"measure_memory.py: error: {error}") from error


def _measure(arguments: argparse.Namespace) -> None:
    config = load_config(arguments.config)
    work = Path(tempfile.mkdtemp(prefix="sllm-memory-", dir=arguments.folder))
    try:
        checkpoint = work / f"{config.name}.pth"
        write_torch_file(RandomStateDict(expected_shapes(config), 0), checkpoint)
        size = checkpoint.stat().st_size
        print(f"checkpoint: {size / _GIB:.2f} GiB", flush=True)
        for variant in VARIANTS:
            out = work / variant
            given = ["--config", arguments.config, "--checkpoint", checkpoint]
            given += ["--tokenizer", arguments.tokenizer, "--out", out, "--variant", variant]
            peaks = run_measured(
                ["bundle", *(str(Path(g).absolute()) if isinstance(g, Path) else g for g in given)]
            )
            shares = [
                f"{kind} {value / _GIB:.2f} GiB, {value / size:.2f} x"
                for kind, value in vars(peaks).items()
            ]
            print(f"{variant}: {'; '.join(shares)}", flush=True)
            if not arguments.keep:
                shutil.rmtree(out)
            if peaks.resident > LIMIT * size:
                raise SystemExit(f"{variant}: takes more than {LIMIT} x the checkpoint")
    finally:
        if not arguments.keep:
            shutil.rmtree(work, ignore_errors=True)


if __name__ == "__main__":
    main()
