"""Make the pack that `gpu/check.sh` runs from on a machine with a GPU: `make gpu-pack`.

The pack is some folders, each small enough to be sent alone, whose contents belong into one folder:
`program` has the program, `1` the exporter, configurations, the shipped model and the check, the
others have parts of ONNX Runtime's libraries.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from gpu_check.archive import PARTS, SUMS, sha256
from gpu_check.plan import MODELS, SHIPPED, TRAINED

ROOT = Path(__file__).resolve().parents[1]
MAX_PART = 60 * 2**20
MANIFEST = "sllm.json"
_PLAIN = "libonnxruntime.so"
_DROPPED = ("backend", "datasets", "quantization", "tools", "transformers")
"""Parts of the Python package that are not needed."""


def main() -> None:
    """Make the pack; exit with a message if something is missing."""
    parser = argparse.ArgumentParser(prog="gpu/pack.py", description="Makes the pack for a GPU.")
    add = parser.add_argument
    add("--out", type=Path, required=True, metavar="DIR", help="pack to write, replaced if there")
    add("--binary", type=Path, required=True, metavar="FILE", help="sllm-ort")
    add("--wheel", type=Path, metavar="FILE", help="wheel of onnxruntime-gpu")
    add("--library", type=Path, metavar="DIR", help="or libonnxruntime.so, for the processor alone")
    add("--level", type=int, default=9, metavar="N", help="of zstd (default: %(default)s)")
    given = parser.parse_args()
    if (given.wheel is None) == (given.library is None):
        parser.error("give one of --wheel and --library")
    for path in (given.binary, given.wheel, given.library):
        if path is not None and not path.exists():
            sys.exit(f"{path}: is missing")
    out: Path = given.out
    shutil.rmtree(out, ignore_errors=True)
    first = out / "1"
    first.mkdir(parents=True)
    copy_files(first)
    program = out / "program" / "bin"
    program.mkdir(parents=True)
    shutil.copy2(given.binary, program / "sllm-ort")
    runtime = out / "runtime"
    if given.wheel is not None:
        unpack_wheel(given.wheel, runtime / "onnxruntime")
    else:
        place_library(given.library, runtime / "onnxruntime" / "capi")
    compress(runtime, out, given.level)
    shutil.rmtree(runtime)
    files = {
        path.relative_to(folder).as_posix(): path
        for folder in out.iterdir()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
    lines = [f"{sha256(path)}  {name}\n" for name, path in sorted(files.items())]
    (first / SUMS).write_text("".join(lines), encoding="utf-8")
    for folder in sorted(out.iterdir()):
        size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        print(f"{folder}: {size / 2**20:.1f} MiB")
        if size > MAX_PART:
            sys.exit(f"{folder}: more than {MAX_PART >> 20} MiB")


def copy_files(target: Path) -> None:
    """Copy all but the program and the libraries."""
    ignored = shutil.ignore_patterns("__pycache__", "tests")
    shutil.copytree(ROOT / "gpu", target / "gpu", ignore=ignored)
    shutil.copytree(
        ROOT / "export" / "sllm_export", target / "export" / "sllm_export", ignore=ignored
    )
    (target / "configs").mkdir()
    for model in MODELS:
        shutil.copy(ROOT / "configs" / f"{model}.json", target / "configs")
    golden = ROOT / "tests" / "golden"
    shutil.copy(golden / "tokenizer.json", target)
    for model in TRAINED:
        (target / "trained" / model).mkdir(parents=True)
        for name in ("config.json", "checkpoint.safetensors"):
            shutil.copy(golden / model / name, target / "trained" / model)
    copy_portable(ROOT / "models" / SHIPPED, target / "models" / SHIPPED)


def copy_portable(source: Path, target: Path) -> None:
    """A bundle with its variant `portable` alone: a bundle's graphs must all be there."""
    shutil.copytree(source, target, ignore=shutil.ignore_patterns("cpu-*", "cuda-*"))
    manifest = json.loads((source / MANIFEST).read_text(encoding="utf-8"))
    manifest["variants"] = [v for v in manifest["variants"] if v["name"] == "portable"]
    text = json.dumps(manifest, indent=2, ensure_ascii=False) + "\n"
    (target / MANIFEST).write_text(text, encoding="utf-8")


def unpack_wheel(wheel: Path, target: Path) -> None:
    """The Python package with its libraries; the main one under its plain name too."""
    scratch = target.with_name("wheel")
    with zipfile.ZipFile(wheel) as archive:
        kept = [
            name
            for name in archive.namelist()
            if name.startswith("onnxruntime/") and name.split("/")[1] not in _DROPPED
        ]
        archive.extractall(scratch, kept)
    (scratch / "onnxruntime").rename(target)
    scratch.rmdir()
    (versioned,) = (target / "capi").glob(f"{_PLAIN}.*")
    versioned.rename(target / "capi" / _PLAIN)


def place_library(source: Path, target: Path) -> None:
    """The libraries for the processor; Python's package is then the machine's own."""
    target.mkdir(parents=True)
    for path in source.glob("libonnxruntime*.so"):
        shutil.copyfile(path, target / path.name)
    if not (target / _PLAIN).is_file():
        sys.exit(f"{source}: no {_PLAIN} there")


def compress(source: Path, out: Path, level: int) -> None:
    """Write `source` as parts of one compressed archive, each in a folder of its own."""
    archive = out / "runtime.tar"
    with tarfile.open(archive, "w") as tar:
        for path in sorted(source.iterdir()):
            tar.add(path, path.name)
    packed = out / "runtime.tar.zst"
    subprocess.run(["zstd", "-q", f"-{level}", "-o", str(packed), str(archive)], check=True)
    archive.unlink()
    with packed.open("rb") as file:
        number = 2
        while block := file.read(MAX_PART):
            folder = out / str(number)
            folder.mkdir()
            (folder / f"{PARTS}{number:02}").write_bytes(block)
            number += 1
    packed.unlink()


if __name__ == "__main__":
    main()
