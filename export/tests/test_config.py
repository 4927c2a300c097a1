"""The configuration's schema: what is refused, and how it is said."""

import json

import pytest
from helpers import ROOT, TINY, tiny, tiny_opt

from sllm_export.config import load_config, parse_config
from sllm_export.errors import ConfigError

REFUSED = [
    ("not an object", [], "the file is []"),
    ("unknown key", tiny(layers=2), 'unknown key "layers"'),
    ("unknown key inside", tiny(**{"svae.dropout": 0.1}), 'unknown key "svae.dropout"'),
    ("missing key", tiny(hidden_size=None), "hidden_size is missing"),
    ("missing section", tiny(svae=None), "svae is missing (allowed: a JSON object)"),
    ("missing key inside", tiny(**{"tokens.pad": None}), "tokens.pad is missing"),
    ("section of wrong type", tiny(backbone=3), "backbone is 3 (allowed: a JSON object)"),
    ("unknown kind", tiny(kind="gpt"), 'kind is "gpt" (allowed: svae, sllm, opt)'),
    ("zero", tiny(**{"svae.layers": 0}), "svae.layers is 0 (allowed: a whole number from 1"),
    ("negative", tiny(vocab_size=-5), "vocab_size is -5"),
    ("fraction", tiny(hidden_size=32.0), "hidden_size is 32.0"),
    ("bool for number", tiny(max_sentences=True), "max_sentences is true"),
    ("number for bool", tiny(reencode_bos=1), "reencode_bos is 1 (allowed: true or false)"),
    (
        "bos without a mask",
        tiny(reencode_bos=True, reencode_mask=False),
        "reencode_mask is false (allowed: true where reencode_bos is true)",
    ),
    ("text for bool", tiny(reencode_mask="no"), 'reencode_mask is "no" (allowed: true or false)'),
    ("string for number", tiny(vocab_size="64"), 'vocab_size is "64"'),
    ("too large", tiny(vocab_size=2**40), "vocab_size is 1099511627776"),
    ("empty name", tiny(name=""), 'name is ""'),
    ("lone surrogate", tiny(name="a\ud800"), r'name is "a\ud800" (allowed: a string of 1 to'),
    ("name of two lines", tiny(name="a\nb"), r'name is "a\nb"'),
    ("token beyond vocabulary", tiny(**{"tokens.bos": 64}), "tokens.bos is 64"),
    ("negative token", tiny(**{"tokens.eos": -1}), "tokens.eos is -1"),
    (
        "heads of svae",
        tiny(**{"svae.heads": 5}),
        "svae.heads is 5 (allowed: a divisor of hidden_size, which is 32)",
    ),
    ("heads of backbone", tiny(**{"backbone.heads": 3}), "backbone.heads is 3"),
    (
        "more sentences than positions",
        tiny(max_sentences=9),
        "max_sentences is 9 (allowed: at most backbone.max_positions, which is 8)",
    ),
    ("sentence of bos only", tiny(max_sentence_tokens=1), "max_sentence_tokens is 1"),
    (
        "prefill attention",
        tiny(**{"backbone.prefill_attention": "full"}),
        'backbone.prefill_attention is "full" (allowed: causal, bidirectional)',
    ),
    ("svae with backbone", tiny(kind="svae"), 'unknown key "backbone"'),
    ("sllm with word_embed_size", tiny(**{"backbone.word_embed_size": 8}), "word_embed_size"),
    ("opt with svae", tiny_opt(svae=TINY["svae"]), 'unknown key "svae"'),
    ("opt without word_embed_size", tiny_opt(**{"backbone.word_embed_size": None}), "is missing"),
    (
        "opt with bidirectional prefill",
        tiny_opt(**{"backbone.prefill_attention": "bidirectional"}),
        "(allowed: causal)",
    ),
]


@pytest.mark.parametrize(
    ("raw", "message"), [row[1:] for row in REFUSED], ids=[r[0] for r in REFUSED]
)
def test_refused(raw, message):
    with pytest.raises(ConfigError) as caught:
        parse_config(raw, "x.json")
    text = str(caught.value)
    assert text.startswith("x.json: ")
    assert message in text
    assert "\n" not in text


def test_all_problems_at_once():
    raw = tiny(
        vocab_size=0, reencode_bos=None, extra=1, **{"svae.heads": 5, "backbone.layers": "x"}
    )
    with pytest.raises(ConfigError) as caught:
        parse_config(raw)
    found = caught.value.problems
    assert len(found) == 5, found


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is not valid JSON"),
        ('{"name": "a", "name": "b"}', 'key given twice: "name"'),
        ('{"name": NaN}', "NaN is not a JSON value"),
        ("[" * 100_000, "is not valid JSON"),
        (" " * (2**20 + 1), "is longer than"),
    ],
)
def test_file_that_is_no_configuration(tmp_path, text, message):
    path = tmp_path / "c.json"
    path.write_text(text)
    with pytest.raises(ConfigError, match="c.json: .*" + message):
        load_config(path)


def test_missing_file(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        load_config(tmp_path / "none.json")


@pytest.mark.parametrize(
    "raw",
    [
        tiny(kind="svae", backbone=None),
        tiny(kind="svae", backbone=None, max_sentences=None, reencode_bos=None),
        tiny_opt(),
        tiny_opt(**{"backbone.prefill_attention": "causal", "max_sentences": 4}),
    ],
)
def test_accepted(raw):
    config = parse_config(raw)
    assert config.raw == raw
    assert (config.svae is None) == (config.kind == "opt")
    assert (config.backbone is None) == (config.kind == "svae")


def test_shipped_configurations():
    paths = sorted((ROOT / "configs").glob("*.json"))
    assert len(paths) >= 21
    for path in paths:
        config = load_config(path)
        assert config.name == path.stem
        assert json.dumps(config.raw) == json.dumps(json.loads(path.read_text()))


@pytest.mark.parametrize("bos", [False, True])
def test_a_generated_sentence_is_masked_as_it_has_bos_unless_said_otherwise(bos):
    assert parse_config(tiny(reencode_bos=bos)).reencode_mask is bos
    assert parse_config(tiny(reencode_bos=bos, reencode_mask=True)).reencode_mask


def test_deep_nesting(tmp_path):
    path = tmp_path / "c.json"
    for depth in [*range(900, 1000), 100_000]:
        path.write_text(f'{{"name": {"[" * depth}{"]" * depth}}}')
        with pytest.raises(ConfigError, match=r"c\.json: "):
            load_config(path)
