"""The variants that the exporter writes, and the graphs of each."""

from __future__ import annotations

from dataclasses import dataclass, replace

from sllm_export.checkpoint.expected import decoder_weights, encoder_weights, opt_weights
from sllm_export.checkpoint.state_dict import StateDict, Weights
from sllm_export.config import ModelConfig
from sllm_export.errors import ExportError
from sllm_export.graph.backbone import build_backbone
from sllm_export.graph.builder import GraphBuilder
from sllm_export.graph.decoder import build_decoder
from sllm_export.graph.encoder import build_encoder
from sllm_export.graph.opt import build_opt
from sllm_export.graph.precision import Float16, Float32, Half, Int4Half, Precision, Quantized


@dataclass(frozen=True)
class Variant:
    """One way to build a model's graphs.

    `tolerance` bounds the error that the check after writing accepts; see `verify.outputs`. The
    check runs on the CPU, whatever the variant is for. That of int8 and int4 is about three times
    the error of the deepest model with random weights. A variant that is not `usual` is written
    only if it is named.
    """

    name: str
    precision_name: str
    precision: Precision
    in_place: bool
    providers: tuple[str, ...]
    tolerance: float
    usual: bool = True


_EVERYWHERE = ("cpu", "cuda", "tensorrt", "openvino", "coreml", "directml", "xnnpack")

VARIANTS = (
    Variant("cpu-int8", "int8", Quantized(8), True, ("cpu",), 0.2),
    Variant("cpu-int4", "int4", Quantized(4), True, ("cpu",), 1.0, usual=False),
    Variant("cuda-fp16", "fp16", Float16(), True, ("cuda",), 0.005, usual=False),
    Variant("cuda-int4", "int4", Int4Half(), True, ("cuda",), 1.0, usual=False),
    Variant("portable-fp16", "fp16", Half(), False, ("tensorrt", "cuda"), 0.005, usual=False),
    Variant("portable", "fp32", Float32(), False, _EVERYWHERE, 1e-4),
)
"""In the order of the manifest: the first that suits a provider is taken."""

GRAPHS = {
    "svae": ("encoder", "decoder"),
    "sllm": ("encoder", "backbone", "decoder"),
    "opt": ("opt",),
}
_HEAD_MULTIPLE = 8


def select_variants(names: list[str], config: ModelConfig) -> list[Variant]:
    """The variants to write: those named, or the usual ones that the configuration allows."""
    known = {variant.name for variant in VARIANTS}
    unknown = [name for name in names if name not in known]
    if unknown:
        listed = ", ".join(variant.name for variant in VARIANTS)
        raise ExportError(f"--variant {unknown[0]}: unknown, known variants: {listed}")
    chosen = [v for v in VARIANTS if (v.name in names if names else v.usual)]
    problem = in_place_problem(config)
    if problem:
        if any(name for name in names if any(v.name == name and v.in_place for v in chosen)):
            raise ExportError(f"{problem}; write the portable variant with --variant portable")
        chosen = [variant for variant in chosen if not variant.in_place]
    return chosen


def stored_in_half(variant: Variant) -> Variant:
    """The variant with its float32 weights stored in float16 where that can hold them."""
    if not isinstance(variant.precision, Float32):
        return variant
    return replace(variant, precision=Float32(stored_half=True))


def in_place_problem(config: ModelConfig) -> str:
    """Why the attention with caches in place cannot run this model; empty if it can."""
    for section, part in (("svae", config.svae), ("backbone", config.backbone)):
        if part is not None and (config.hidden_size // part.heads) % _HEAD_MULTIPLE:
            size = config.hidden_size // part.heads
            return (
                f"{section}.heads is {part.heads}: heads of {size} channels have no in-place "
                f"cache (expected a multiple of {_HEAD_MULTIPLE})"
            )
    return ""


def build_graph(
    config: ModelConfig, state_dict: StateDict, variant: Variant, graph: str
) -> GraphBuilder:
    """Builds one of the kind's GRAPHS."""
    precision, in_place = variant.precision, variant.in_place
    if graph == "encoder":
        return build_encoder(config, encoder_weights(config, state_dict), precision)
    if graph == "decoder":
        return build_decoder(config, decoder_weights(config, state_dict), precision, in_place)
    if graph == "backbone":
        return build_backbone(config, Weights(state_dict), precision, in_place)
    return build_opt(config, opt_weights(state_dict), precision, in_place)


def build_step_graph(
    config: ModelConfig, state_dict: StateDict, variant: Variant, graph: str
) -> GraphBuilder:
    """Builds a decoder, backbone or opt graph for greedy steps alone, for capture as a CUDA graph.

    It takes one position of each row and gives the best tokens only. It lacks the inputs
    `all_logits`, `logits_to_keep` and `bidirectional`, the output `logits`, and every `If`; no
    output's shape depends on more than the batch. Its other inputs and outputs, and its weights,
    are those of the variant's graph. The caller may give the capacity of the caches as
    `total_sequence_length` in every step. Raises ExportError for a variant that has no such graph.
    """
    precision = variant.precision
    if not isinstance(precision, Float16 | Int4Half) or graph == "encoder":
        raise ExportError(f"{variant.name} has no {graph} graph for greedy steps")
    steps = replace(variant, precision=replace(precision, steps=True))
    return build_graph(config, state_dict, steps, graph)
