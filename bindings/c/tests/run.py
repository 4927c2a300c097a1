"""Compile the C programs against an installed library, and run them.

    run.py PREFIX

Each program is linked with the shared and with the static library. The shared ones also run under
valgrind; where that is missing, the static ones are built with AddressSanitizer. The example's
token ids are compared with those of the command line program.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[3]
SOURCES = ROOT / "bindings/c"
GOLDEN = ROOT / "tests/golden"
STORIES = ROOT / "models/sllm-stories"
PROMPT = "Once upon a time, there was a little fox. "
PROGRAM = ROOT / "target/debug/sllm-ort"

CC = os.environ.get("CC", "cc")
CXX = os.environ.get("CXX", "c++")
WARNINGS = ["-g", "-Wall", "-Wextra", "-Werror"]
C11 = ["-std=c11", "-D_POSIX_C_SOURCE=200809L", *WARNINGS]
SANITIZER = ["-fsanitize=address", "-fno-omit-frame-pointer"]
# Those of Libs.private in sllm-ort.pc.in.
PRIVATE = ["-lgcc_s", "-lutil", "-lrt", "-lpthread", "-lm", "-ldl", "-lc"]
# Leaks that are certain are errors. What ONNX Runtime holds to its end is no leak.
VALGRIND = [
    "valgrind",
    "--quiet",
    "--error-exitcode=9",
    "--leak-check=full",
    "--show-leak-kinds=definite,indirect",
    "--errors-for-leak-kinds=definite,indirect",
    f"--suppressions={SOURCES / 'tests/valgrind.supp'}",
]


@dataclass(frozen=True)
class Program:
    """A program, and what it is run with."""

    sources: list[Path]
    arguments: list[str]
    # Further ones, and those under valgrind, where all is much slower.
    work: list[str] = field(default_factory=list)
    slow_work: list[str] = field(default_factory=list)


def programs(folder: Path) -> list[Program]:
    """The example and the test programs."""
    tests, tiny = SOURCES / "tests", str(GOLDEN / "bundle")
    bundles = [tiny, str(GOLDEN / "bundle-opt"), str(GOLDEN / "bundle-svae")]
    # Its main function is in suite.c, whose name the program has.
    suite = sorted(tests.glob("*.c"), key=lambda source: source.name != "suite.c")
    changed = [str(swapped_bundle(folder)), str(canonical_bundle(folder))]
    arguments = [*bundles, *changed, str(folder)]
    return [
        Program([SOURCES / "examples/story.c"], [str(STORIES), PROMPT]),
        Program(suite, arguments, ["8"], ["1"]),
        Program([tests / "header.cpp"], [tiny]),
    ]


def documented(folder: Path) -> list[Program]:
    """The programs that the documentation shows."""
    shown = []
    for document in ["README.md", "docs/c.md"]:
        text = (ROOT / document).read_text(encoding="utf-8")
        for number, code in enumerate(re.findall(r"```c\n(.*?)```", text, re.DOTALL)):
            source = folder / f"{Path(document).stem}-{number}.c"
            source.write_text(code, encoding="utf-8")
            shown.append(Program([source], []))
    return shown


def check_documented(build: Build) -> None:
    """Each program that the documentation shows tells a story."""
    programs = documented(build.folder)
    for program in programs:
        if not run(build.shared(program), **build.runtime).strip():
            sys.exit(f"{program.sources[0]} says nothing")
    print(f"{len(programs)} documented programs passed")


def swapped_bundle(folder: Path) -> Path:
    """A bundle whose encoder and decoder are swapped."""

    def swap(manifest: dict[str, Any]) -> None:
        for variant in manifest["variants"]:
            graphs = variant["graphs"]
            graphs["encoder"], graphs["decoder"] = graphs["decoder"], graphs["encoder"]

    return changed_bundle(folder / "swapped", swap)


def canonical_bundle(folder: Path) -> Path:
    """A bundle with canonical white space."""

    def change(manifest: dict[str, Any]) -> None:
        manifest["segmentation"] |= {"rule": "clauses", "white_space": "canonical"}

    return changed_bundle(folder / "canonical", change)


def changed_bundle(bundle: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    """A copy of the tiny bundle with a changed manifest."""
    shutil.copytree(GOLDEN / "bundle", bundle)
    manifest = json.loads((bundle / "sllm.json").read_text())
    change(manifest)
    (bundle / "sllm.json").write_text(json.dumps(manifest))
    return bundle


def run(command: list[str], **environment: str) -> str:
    """Run a command that must succeed; returns its output."""
    named = {key: value for key, value in os.environ.items() if not key.startswith("SLLM_ORT_")}
    done = subprocess.run(
        command, capture_output=True, text=True, env={**named, **environment}, cwd=ROOT
    )
    if done.returncode != 0:
        shown = " ".join(command)
        sys.exit(
            f"{shown}\nended with {done.returncode}\n{done.stdout[-4000:]}{done.stderr[-8000:]}"
        )
    return done.stdout


class Build:
    """Compiles programs against the library in a prefix."""

    def __init__(self, prefix: Path, folder: Path) -> None:
        self.prefix, self.folder = prefix, folder
        self.runtime = {"ORT_DYLIB_PATH": str(ROOT / ".onnxruntime")}

    def compile(self, program: Program, kind: str, options: list[str]) -> list[str]:
        """The command that runs a program which is linked so."""
        source = program.sources[0]
        compiler = [CXX, *WARNINGS] if source.suffix == ".cpp" else [CC, *C11]
        binary = self.folder / f"{source.stem}-{kind}"
        sources = [str(source) for source in program.sources]
        run([*compiler, f"-I{self.prefix / 'include'}", *sources, "-o", str(binary), *options])
        return [str(binary), *program.arguments]

    def shared(self, program: Program) -> list[str]:
        """Linked with the shared library."""
        library = self.prefix / "lib"
        options = [f"-L{library}", f"-Wl,-rpath,{library}", "-lsllm_ort", "-lpthread", "-lm"]
        return self.compile(program, "shared", options)

    def static(self, program: Program, *options: str) -> list[str]:
        """Linked with the static library."""
        kind = "sanitized" if options else "static"
        library = str(self.prefix / "lib/libsllm_ort.a")
        return self.compile(program, kind, [*options, library, *PRIVATE])

    def check_pkg_config(self) -> None:
        """The flags of pkg-config link the example."""
        if shutil.which("pkg-config") is None:
            print("pkg-config is missing: sllm-ort.pc is not tried")
            return
        path = {"PKG_CONFIG_PATH": str(self.prefix / "lib/pkgconfig")}
        flags = run(["pkg-config", "--cflags", "--libs", "sllm-ort"], **path).split()
        source, binary = SOURCES / "examples/story.c", self.folder / "story-pkg-config"
        run([CC, *C11, str(source), "-o", str(binary), *flags])
        library = str(self.prefix / "lib")
        wrong = [str(binary), "--wrong"]
        done = subprocess.run(wrong, capture_output=True, env={"LD_LIBRARY_PATH": library})
        if done.returncode != 2:
            sys.exit(f"{binary} ended with {done.returncode}: {done.stderr.decode()}")

    def memory_commands(self, all_of: list[Program]) -> list[list[str]]:
        """The commands that look for errors of memory and leaks."""
        if shutil.which("valgrind") is not None:
            return [[*VALGRIND, *self.shared(p), *p.slow_work] for p in all_of]
        print("valgrind is missing: AddressSanitizer is used in its place")
        return [[*self.static(p, *SANITIZER), *p.work] for p in all_of]


def check_ids(story: list[str]) -> None:
    """The example's token ids are those of the command line program."""
    binary, *arguments = story
    printed = run(
        [binary, "--greedy", "--ids", *arguments], ORT_DYLIB_PATH=str(ROOT / ".onnxruntime")
    )
    found = [[int(number) for number in line.split()] for line in printed.splitlines()]
    options = ["--model", str(STORIES), "--greedy", "--max-sentences", "8", "--format", "json"]
    lines = run([str(PROGRAM), "run", PROMPT, *options]).splitlines()
    expected = [json.loads(line)["token_ids"] for line in lines if "token_ids" in line]
    if found != expected or len(found) != 8:
        sys.exit(f"the example's token ids are {found}, those of the program {expected}")


def check_missing_model(story: list[str], build: Build) -> None:
    """A model that is missing ends the example with one line that says so."""
    done = subprocess.run([story[0], "/nowhere"], capture_output=True, text=True, env=build.runtime)
    lines = done.stderr.splitlines()
    if done.returncode != 1 or len(lines) != 1 or "(invalid_file)" not in lines[0]:
        sys.exit(f"the example ended with {done.returncode}: {done.stderr}")


def main() -> None:
    """Compile and run all."""
    folder = ROOT / "target/c-test"
    for old in ["swapped", "canonical", "bin"]:
        shutil.rmtree(folder / old, ignore_errors=True)
    (folder / "bin").mkdir(parents=True)
    build = Build(Path(sys.argv[1]).resolve(), folder / "bin")
    all_of = programs(folder)
    shared = [build.shared(program) for program in all_of]
    static = [build.static(program) for program in all_of]
    for program, *commands in zip(all_of, shared, static, strict=True):
        for command in commands:
            run([*command, *program.work], **build.runtime)
    check_ids(shared[0])
    check_missing_model(shared[0], build)
    check_documented(build)
    build.check_pkg_config()
    print(f"{2 * len(all_of)} programs passed, shared and static")

    commands = build.memory_commands([p for p in all_of if p.sources[0].suffix == ".c"])

    def checked(command: list[str]) -> str:
        started = time.monotonic()
        run(command, **build.runtime)
        name = next(Path(part).name for part in command if str(build.folder) in part)
        return f"{name}: no error of memory, no leak ({time.monotonic() - started:.0f} s)"

    with ThreadPoolExecutor(max_workers=min(2, os.cpu_count() or 1)) as pool:
        for line in pool.map(checked, commands):
            print(line)


if __name__ == "__main__":
    main()
