"""The steps of the check, in the order of their worth."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from gpu_check import archive, machine
from gpu_check.machine import GpuMemory
from gpu_check.plan import (
    MODELS,
    PROMPTS,
    SEED,
    SHIPPED,
    TRAINED,
    VARIANTS,
    Plan,
    sentences,
    write_config,
)
from gpu_check.steps import Result, StepError, Steps, call, call_json

_BUNDLE_SECONDS, _STEP_SECONDS, _SHORT_SECONDS = 240.0, 90.0, 45.0
WEIGHTS = "checkpoint.safetensors"
_STEPS_OF = {"sllm-125m-h1": ("decoder", "backbone"), "opt-125m": ("opt",)}
_STEP_VARIANTS = ("cuda-fp16", "cuda-int4")
_CAPACITY = {"decoder": 64, "backbone": 64, "opt": 512}
_SMALL_CAPACITY = 12


class Check:
    """All steps; a step that needs what failed before it fails with that reason."""

    def __init__(
        self, steps: Steps, plan: Plan, pack: Path, work: Path, env: dict[str, str]
    ) -> None:
        self.steps = steps
        self.plan = plan
        self.pack = pack
        self.work = work
        self.env = env
        self.program = pack / "bin" / "sllm-ort"
        self.library: Path | None = None
        self.made: set[tuple[str, str]] = set()

    def run(self) -> None:
        """Run every step."""
        step = self.steps.run
        step(("machine",), lambda: machine.describe(self.plan.provider))
        step(("pack",), lambda: {"files": archive.check_sums(self.pack)})
        step(("runtime",), self.prepare_runtime)
        step(("doctor",), self.doctor)
        step(("greedy", SHIPPED, "portable"), self.reconstruct)
        pairs = [(model, variant) for variant in VARIANTS for model in MODELS]
        trained = [(model, variant) for variant in VARIANTS for model in TRAINED]
        self.together("trained", self.trained, trained)
        self.write_configs()
        self.together("bundle", self.make_bundle, pairs)
        self.together("parity", self.parity, pairs)
        self.together("nodes", self.nodes, pairs)
        # What is timed has the machine for itself.
        for model, variant in pairs:
            for batch in self.batches(model, variant):
                name = ("speed", model, variant, str(batch))
                step(name, partial(self.speed, model, variant, batch))
        for model, variant in pairs:
            for graph in _STEPS_OF[model] if variant in _STEP_VARIANTS else ():
                action = partial(self.step_time, model, variant, graph)
                step(("step_time", model, variant, graph), action)
        self.together("greedy", self.greedy, pairs)

    def together(
        self, part: str, action: Callable[[str, str], Result], pairs: list[tuple[str, str]]
    ) -> None:
        """A step for each model and variant, some at the same time."""
        actions: dict[tuple[str, ...], Callable[[], Result]] = {
            (part, *pair): partial(action, *pair) for pair in pairs
        }
        self.steps.run_all(actions, max(1, min(len(pairs), (os.cpu_count() or 1) // 2)))

    def batches(self, model: str, variant: str) -> list[int]:
        """Batches for `bench`, which has one continuation of kind opt; the step times have all."""
        if model == "opt-125m" or variant not in _STEP_VARIANTS:
            return [1]
        return list(self.plan.batches)

    def prepare_runtime(self) -> Result:
        """ONNX Runtime out of the pack, with CUDA's libraries where the loader finds them."""
        target = self.work / "runtime"
        archive.unpack(self.pack, target)
        self.library = target / "onnxruntime" / "capi"
        folders = [self.library, *machine.library_folders()]
        known = self.env.get("LD_LIBRARY_PATH", "")
        paths = [str(folder) for folder in folders] + ([known] if known else [])
        self.env["LD_LIBRARY_PATH"] = os.pathsep.join(paths)
        found: Result = {"library_path": paths[1:]}
        cuda = self.library / "libonnxruntime_providers_cuda.so"
        if cuda.is_file():
            found["missing_for_cuda"] = machine.missing_libraries(cuda, self.env)
        elif self.plan.provider == "cuda":
            raise StepError("this pack has no libraries for CUDA: it was made for the processor")
        if (target / "onnxruntime" / "__init__.py").is_file():
            plain = self.env.copy()
            self.env["PYTHONPATH"] = os.pathsep.join([str(target), self.env["PYTHONPATH"]])
            try:
                found["python"] = self.python_runtime()
            except StepError as error:
                # The machine's own ONNX Runtime serves for what needs no GPU.
                self.env = plain
                raise StepError(f"the pack's onnxruntime is not imported: {error}", found) from None
        else:
            found["python"] = self.python_runtime()
        if self.plan.provider == "cuda" and found.get("missing_for_cuda"):
            missing = ", ".join(found["missing_for_cuda"])
            raise StepError(f"CUDA's provider lacks {missing}", found)
        return found

    def python_runtime(self) -> Result:
        """Version, place and providers of the onnxruntime that Python imports."""
        code = (
            "import json, onnxruntime as o; print(json.dumps({'version': o.__version__, "
            "'file': o.__file__, 'providers': o.get_available_providers()}))"
        )
        return call_json([sys.executable, "-c", code], self.env, self._seconds(_SHORT_SECONDS))

    def doctor(self) -> Result:
        """What the program itself says of the machine, and whether the provider starts."""
        model = self.pack / "models" / SHIPPED
        arguments = ["doctor", "--format", "json", "--model", str(model), "--variant", "portable"]
        found = self._sllm(arguments, _SHORT_SECONDS, check=False)
        for provider in found.get("providers", []):
            if provider["name"] == self.plan.provider and not provider["starts"]:
                raise StepError(f"the provider does not start: {provider.get('problem')}", found)
        if not found.get("works"):
            raise StepError("doctor says that the bundle cannot be run", found)
        return found

    def reconstruct(self) -> Result:
        """Ids of sentences through the shipped model, on the provider and on the processor."""
        file = self.work / "sentences.txt"
        file.write_text("\n".join(sentences(self.plan.sentences)) + "\n", encoding="utf-8")
        model = self.pack / "models" / SHIPPED
        found = []
        for provider in (self.plan.provider, "cpu"):
            arguments = ["reconstruct", "--file", str(file), "--model", str(model)]
            arguments += ["--variant", "portable", "--format", "json", "--provider", provider]
            out = call(self._program(arguments), self.env, self._seconds(_STEP_SECONDS))
            found.append([json.loads(line)["output_ids"] for line in out.splitlines()])
        pairs = list(zip(*found, strict=True))
        differ = [number for number, (ids, expected) in enumerate(pairs) if ids != expected]
        return {"sentences": len(pairs), "sentences_that_differ": len(differ)}

    def trained(self, model: str, variant: str) -> Result:
        """Greedy ids of a small trained model by the program, as on the processor or a failure."""
        source, bundle = self.pack / "trained" / model, self._bundle(model, variant)
        self._export(source / "config.json", variant, bundle, "--checkpoint", source / WEIGHTS)
        differ, tokens = [], 0
        for prompt in PROMPTS[: self.plan.prompts]:
            found = []
            for provider in (self.plan.provider, "cpu"):
                arguments = ["run", "--model", str(bundle), "--variant", variant]
                arguments += ["--provider", provider, "--format", "json", "--ignore-eos", prompt]
                out = call(self._program(arguments), self.env, self._seconds(_SHORT_SECONDS))
                lines = [json.loads(line) for line in out.splitlines()]
                found.append([line["token_ids"] for line in lines if "token_ids" in line])
            tokens += sum(map(len, found[1]))
            if found[0] != found[1]:
                differ.append(prompt)
        result: Result = {
            "prompts": self.plan.prompts,
            "tokens": tokens,
            "prompts_that_differ": differ,
        }
        if differ:
            raise StepError(f"other ids than on the processor after {differ[0]!r}", result)
        return result

    def write_configs(self) -> None:
        """The configurations of the models, smaller ones to try the script."""
        configs = self.work / "configs"
        configs.mkdir(exist_ok=True)
        for model in MODELS:
            source = self.pack / "configs" / f"{model}.json"
            write_config(source, configs / source.name, self.plan.small)

    def make_bundle(self, model: str, variant: str) -> Result:
        """One bundle, and its graphs for greedy steps; the exporter checks the bundle's graphs."""
        folder = self._bundle(model, variant)
        self._export(self._config(model), variant, folder, "--random", str(SEED))
        self.made.add((model, variant))
        if variant in _STEP_VARIANTS:
            graphs = [word for graph in _STEPS_OF[model] for word in ("--graph", graph)]
            self._worker("step_graphs", model, variant, graphs)
        files = (path for path in folder.rglob("*") if path.is_file())
        return {"bytes": sum(path.stat().st_size for path in files)}

    def parity(self, model: str, variant: str) -> Result:
        """Each graph on the provider against the processor."""
        found = self._worker("parity", model, variant, [])
        graphs: Result = found["graphs"]
        wrong = [name for name, graph in graphs.items() if not graph["ok"]]
        if wrong:
            reasons = (f"{name}: {graphs[name].get('error', 'differs')}" for name in wrong)
            raise StepError("; ".join(reasons), graphs)
        return graphs

    def nodes(self, model: str, variant: str) -> Result:
        """How many nodes run on the provider."""
        arguments = ["info", "--format", "json", *self._model(model, variant)]
        found: Result = self._sllm(arguments, _SHORT_SECONDS)["nodes"]
        return {**found, "share": found["on_provider"] / max(1, found["all"])}

    def speed(self, model: str, variant: str, batch: int) -> Result:
        """Tokens a second by the program's own `bench`, and the GPU memory that it takes."""
        plan = self.plan
        sizes = {
            "batch": batch,
            "repetitions": plan.repetitions,
            "prompt-tokens": plan.prompt_tokens,
            "sentences": plan.new_sentences,
        }
        arguments = ["bench", "--format", "json", *self._model(model, variant)]
        for name, value in sizes.items():
            arguments += [f"--{name}", str(value)]
        with GpuMemory(plan.provider) as memory:
            found = self._sllm(arguments, _STEP_SECONDS)
        return {**found, "gpu_memory_mib": memory.most()}

    def step_time(self, model: str, variant: str, graph: str) -> Result:
        """Milliseconds of a greedy step with all on the device, plain and as a CUDA graph."""
        capacity = _SMALL_CAPACITY if self.plan.small else _CAPACITY[graph]
        arguments = ["--graph", graph, "--capacity", str(capacity)]
        arguments += ["--runs", str(self.plan.step_runs)]
        for batch in self.plan.batches:
            arguments += ["--batch", str(batch)]
        found: Result = self._worker("step_time", model, variant, arguments)["batch"]
        forms = ("plain",) if self.plan.provider == "cpu" else ("plain", "cuda_graph")
        errors = [
            f"batch {batch}, {form}: {row[form]['error']}"
            for batch, row in found.items()
            for form in forms
            if "error" in row[form]
        ]
        if errors:
            raise StepError("; ".join(errors), found)
        return found

    def greedy(self, model: str, variant: str) -> Result:
        """Greedy ids on the provider and on the processor."""
        sizes = {"sentences": self.plan.sentences, "tokens": self.plan.greedy_tokens}
        arguments = [word for name, value in sizes.items() for word in (f"--{name}", str(value))]
        return self._worker("greedy", model, variant, arguments)

    def _export(self, config: Path, variant: str, out: Path, *weights: str | Path) -> None:
        arguments = [sys.executable, "-m", "sllm_export", "bundle", "--config", config, *weights]
        arguments += ["--variant", variant, "--out", out]
        arguments += ["--tokenizer", self.pack / "tokenizer.json"]
        call(arguments, self.env, self._seconds(_BUNDLE_SECONDS))

    def _worker(self, name: str, model: str, variant: str, arguments: list[str]) -> Result:
        """A part of the check in a process of its own, which may crash."""
        words = [sys.executable, "-m", f"gpu_check.{name}", *arguments]
        words += ["--config", str(self._config(model)), "--bundle", str(self._made(model, variant))]
        words += ["--variant", variant, "--provider", self.plan.provider]
        return call_json(words, self.env, self._seconds(_STEP_SECONDS))

    def _model(self, model: str, variant: str) -> list[str]:
        bundle = self._made(model, variant)
        words = ["--model", str(bundle), "--variant", variant]
        return [*words, "--provider", self.plan.provider]

    def _sllm(self, arguments: Sequence[str | Path], seconds: float, check: bool = True) -> Result:
        words = self._program(arguments)
        if check:
            return call_json(words, self.env, self._seconds(seconds))
        # Its status tells what its JSON tells.
        shell = ["sh", "-c", '"$@" || true', "sh", *words]
        return call_json(shell, self.env, self._seconds(seconds))

    def _program(self, arguments: Sequence[str | Path]) -> list[str | Path]:
        if self.library is None:
            raise StepError("there is no ONNX Runtime: see the step runtime")
        return [self.program, *arguments, "--onnxruntime", self.library / "libonnxruntime.so"]

    def _seconds(self, most: float) -> float:
        return min(most, self.steps.remaining())

    def _config(self, model: str) -> Path:
        return self.work / "configs" / f"{model}.json"

    def _bundle(self, model: str, variant: str) -> Path:
        return self.work / "bundles" / model / variant

    def _made(self, model: str, variant: str) -> Path:
        if (model, variant) not in self.made:
            raise StepError("its bundle was not made")
        return self._bundle(model, variant)
