"""Graphs of tiny models with random weights, of each variant."""

from dataclasses import replace

from helpers import random_weights, tiny, tiny_opt

from sllm_export.graph.precision import Int4Half
from sllm_export.variants import GRAPHS, VARIANTS, build_graph

CONFIGS = {
    "pre-norm": tiny(),
    "post-norm": tiny(**{"backbone.norm_first": False}),
    "project-in": tiny(**{"svae.word_embed_size": 24}),
    "learnable-add": tiny(**{"svae.learnable_add": True}),
    "bidirectional": tiny(**{"backbone.prefill_attention": "bidirectional"}),
    "350m-like": tiny(
        **{
            "backbone.norm_first": False,
            "backbone.prefill_attention": "bidirectional",
            "svae.word_embed_size": 16,
            "reencode_bos": False,
        }
    ),
    "svae": tiny(kind="svae", backbone=None),
    "large-blocks": tiny(kind="svae", backbone=None, **{"svae.ffn_size": 768}),
    "opt pre-norm": tiny_opt(),
    "opt post-norm": tiny_opt(**{"backbone.norm_first": False, "backbone.word_embed_size": 16}),
}
PORTABLE = next(variant for variant in VARIANTS if variant.name == "portable")
INT8 = next(variant for variant in VARIANTS if variant.name == "cpu-int8")
INT4 = next(variant for variant in VARIANTS if variant.name == "cpu-int4")
HALF = next(variant for variant in VARIANTS if variant.name == "cuda-fp16")
INT4_HALF = next(variant for variant in VARIANTS if variant.name == "cuda-int4")
PORTABLE_HALF = next(variant for variant in VARIANTS if variant.name == "portable-fp16")
ALL_INT4_HALF = replace(INT4_HALF, precision=Int4Half(small=0, coarse_from=0, candidates=8))


def write(raw, variant, folder):
    """Writes a variant's graphs of a model with random weights; returns their paths by name."""
    config, weights = random_weights(raw)
    paths = {}
    for graph in GRAPHS[config.kind]:
        paths[graph] = folder / f"{graph}.onnx"
        build_graph(config, weights, variant, graph).save(paths[graph])
    return config, weights, paths
