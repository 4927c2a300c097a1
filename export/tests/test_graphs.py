"""Graphs in ONNX Runtime against the numpy evaluation of the same random weights."""

import numpy as np
import pytest
from graph_files import CONFIGS, HALF, INT4_HALF, INT8, PORTABLE, write
from helpers import choosing, random_weights, tiny, tiny_opt

from sllm_export.checkpoint.state_dict import Weights
from sllm_export.graph import builder
from sllm_export.variants import VARIANTS
from sllm_export.verify import reference
from sllm_export.verify.cases import make_cases
from sllm_export.verify.outputs import check_graph
from sllm_export.verify.runner import Arrays, GraphRunner

TOLERANCES = {
    "portable": 1e-5,
    "cpu-int8": 0.03,
    "cpu-int4": 0.03,
    "cuda-fp16": 0.005,
    "cuda-int4": 0.005,
    "portable-fp16": 0.005,
}
STEP_TOLERANCES = {"cuda-fp16": 0.02, "cuda-int4": 0.02, "portable-fp16": 0.02}
"""Of values about 1: in float16 the order of the sums is seen."""


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: variant.name)
@pytest.mark.parametrize("name", CONFIGS)
def test_graphs_match_numpy(name, variant, tmp_path):
    """Padding in the encoder; prefill and two cached steps elsewhere."""
    config, weights, paths = write(CONFIGS[name], variant, tmp_path)
    for case in make_cases(config, weights):
        check_graph(paths[case.graph], case, TOLERANCES[variant.name])


@pytest.mark.parametrize("raw", [tiny(), CONFIGS["350m-like"]], ids=["causal", "bidirectional"])
@pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: variant.name)
def test_attention_masks_matter(raw, variant, tmp_path):
    """The check would notice a causal prefill in place of a bidirectional one, and vice versa."""
    config, weights, paths = write(raw, variant, tmp_path)
    other = {"causal": "bidirectional", "bidirectional": "causal"}
    changed = tiny(**{"backbone.norm_first": raw["backbone"]["norm_first"]})
    prefill = other[raw["backbone"]["prefill_attention"]]
    changed["backbone"]["prefill_attention"] = prefill
    changed["svae"] = raw["svae"]
    wrong = next(
        c for c in make_cases(random_weights(changed)[0], weights) if c.graph == "backbone"
    )
    right = next(c for c in make_cases(config, weights) if c.graph == "backbone")
    difference = np.abs(wrong.expected["hidden"] - right.expected["hidden"])[:, : right.prompt]
    assert difference.max() > 0.1
    check_graph(paths["backbone"], right, TOLERANCES[variant.name])


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: variant.name)
def test_steps_equal_full_recompute(variant, tmp_path):
    _, _, paths = write(tiny(), variant, tmp_path)
    generator = np.random.default_rng(3)
    ids = generator.integers(0, 64, (1, 7))
    feeds = {"sentence_embedding": generator.standard_normal((1, 32), dtype=np.float32)}
    vectors = generator.standard_normal((1, 7, 32), dtype=np.float32)
    whole = GraphRunner(paths["decoder"]).run({"input_ids": ids, **feeds}, 7)["logits"]
    steps = GraphRunner(paths["decoder"])
    sentences = GraphRunner(paths["backbone"])
    hidden = GraphRunner(paths["backbone"]).run({"inputs_embeds": vectors}, 7)["hidden"]
    atol = STEP_TOLERANCES.get(variant.name, 2e-5)
    for start, end in ((0, 1), (1, 4), (4, 5), (5, 7)):
        count = end - start
        logits = steps.run({"input_ids": ids[:, start:end], **feeds}, count)["logits"]
        np.testing.assert_allclose(logits, whole[:, start:end], atol=atol)
        out = sentences.run({"inputs_embeds": vectors[:, start:end]}, count)["hidden"]
        np.testing.assert_allclose(out, hidden[:, start:end], atol=atol)


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: variant.name)
def test_only_the_wanted_logits_are_computed(variant, tmp_path):
    _, _, paths = write(tiny_opt(), variant, tmp_path)
    ids = np.array([[2, 9, 10, 5, 6], [2, 4, 11, 7, 8]])
    whole = GraphRunner(paths["opt"]).run({"input_ids": ids}, 5)["logits"]
    for count, kept in ((1, 1), (3, 3), (5, 5), (9, 5)):
        feeds = {"input_ids": ids, "logits_to_keep": np.array(count)}
        logits = GraphRunner(paths["opt"]).run(feeds, 5)["logits"]
        atol = STEP_TOLERANCES.get(variant.name, 2e-5)
        np.testing.assert_allclose(logits, whole[:, 5 - kept :], atol=atol)


def test_padding_does_not_change_a_sentence(tmp_path):
    _, _, paths = write(CONFIGS["learnable-add"], PORTABLE, tmp_path)
    encoder = GraphRunner(paths["encoder"])
    ids = np.array([[2, 9, 10, 1, 1, 1], [2, 9, 10, 63, 4, 7], [1, 1, 1, 1, 1, 1]])
    mask = np.array([[1, 1, 1, 0, 0, 0], [1, 1, 1, 0, 0, 0], [0, 0, 0, 0, 0, 0]])
    padded = encoder.run({"input_ids": ids, "attention_mask": mask})["sentence_embedding"]
    alone = encoder.run({"input_ids": ids[:1, :3], "attention_mask": mask[:1, :3]})
    for row in padded[:2]:
        np.testing.assert_allclose(row, alone["sentence_embedding"][0], atol=1e-6)
    assert np.isfinite(padded).all()


def test_more_tokens_than_positions_is_an_error(tmp_path):
    _, _, paths = write(tiny(), PORTABLE, tmp_path)
    ids = np.ones((1, 13), dtype=np.int64)
    with pytest.raises(Exception, match="Add"):
        GraphRunner(paths["encoder"]).run({"input_ids": ids, "attention_mask": ids})


@pytest.mark.parametrize("prefill", ["causal", "bidirectional"])
def test_prompts_of_different_lengths_in_one_batch(prefill, tmp_path):
    """The mask, or the lengths, hide what lies past the end of the shorter prompt."""
    raw = tiny(**{"backbone.prefill_attention": prefill})
    config, weights, paths = write(raw, PORTABLE, tmp_path)
    vectors = np.random.default_rng(5).standard_normal((2, 4, 32), dtype=np.float32)
    lengths = (2, 4)
    expected = [
        reference.run_backbone(
            config,
            Weights(weights),
            vectors[row : row + 1, :length],
            reference.sentence_mask(config, length, length)[None],
        )[0][0]
        for row, length in enumerate(lengths)
    ]
    allowed = np.tile(reference.sentence_mask(config, 4, 4), (2, 1, 1))
    allowed &= np.array([[np.arange(4) < length] for length in lengths])
    past = np.zeros((2, 2, 0, 16), dtype=np.float32)
    feeds: Arrays
    feeds = {f"past_key_values.{i}.{part}": past for i in (0, 1) for part in ("key", "value")}
    feeds["position_ids"] = np.tile(np.arange(4), (2, 1))
    portable = GraphRunner(paths["backbone"]).session
    found = portable.run(["hidden"], {**feeds, "inputs_embeds": vectors, "attention_mask": allowed})
    for row, length in enumerate(lengths):
        np.testing.assert_allclose(found[0][row, :length], expected[row], atol=1e-5)

    _, _, paths = write(raw, INT8, tmp_path)
    past = np.zeros((2, 2, 8, 16), dtype=np.float32)
    feeds = {name: past for name in feeds if name.startswith("past")}
    feeds["position_ids"] = np.tile(np.arange(4), (2, 1))
    feeds["seqlens_k"] = np.array(lengths, dtype=np.int32) - 1
    feeds["total_sequence_length"] = np.array(4, dtype=np.int32)
    if prefill == "bidirectional":
        feeds["bidirectional"] = np.array(True)
    in_place = GraphRunner(paths["backbone"]).session
    found = in_place.run(["hidden"], {**feeds, "inputs_embeds": vectors})
    for row, length in enumerate(lengths):
        difference = found[0][row, :length] - expected[row]
        assert np.sqrt(np.mean(difference**2)) < 0.03 * np.sqrt(np.mean(expected[row] ** 2))


def test_external_data(tmp_path, monkeypatch):
    monkeypatch.setattr(builder, "MAX_EMBEDDED_BYTES", 1000)
    config, weights, paths = write(tiny(), PORTABLE, tmp_path)
    for case in make_cases(config, weights):
        path = paths[case.graph]
        data = path.with_name(path.name + ".data")
        assert data.stat().st_size > path.stat().st_size > 0
        check_graph(path, case, TOLERANCES["portable"])


@pytest.mark.parametrize("raw", [tiny(), tiny_opt()], ids=["decoder", "opt"])
@pytest.mark.parametrize("variant", [INT8, HALF, INT4_HALF], ids=lambda variant: variant.name)
def test_candidates_are_the_best_tokens(raw, variant, tmp_path):
    """Exact logits, best first; the others, where asked for, are coarse."""
    config, weights, paths = write(raw, choosing(variant), tmp_path)
    case = make_cases(config, weights)[-1]
    check_graph(paths[case.graph], case, 0.2)
    steps = case.expected["logits"].shape[1]
    found = GraphRunner(paths[case.graph]).run(case.feeds, steps)
    ids, logits = found["candidate_ids"], found["candidate_logits"]
    assert ids.shape == logits.shape == (2, steps, 8)
    assert (np.diff(logits) <= 0).all()
    exact = np.take_along_axis(case.expected["logits"], ids, axis=-1)
    scale = np.sqrt(np.mean(case.expected["logits"] ** 2))
    np.testing.assert_allclose(logits, exact, atol=0.05 * scale)
    np.testing.assert_array_equal(np.take_along_axis(found["logits"], ids, axis=-1), logits)
    best = case.expected["logits"].argmax(axis=-1)
    assert (best[..., None] == ids).any(axis=-1).all()
    unasked = {**case.feeds, "all_logits": np.array(False)}
    assert GraphRunner(paths[case.graph]).run(unasked, steps)["logits"].shape == (2, steps, 0)
