"""The command of `make scaling`: its trainings, tables and picture."""

import argparse

from tiny_training import Case

import scaling


def arguments(tmp_path, *options) -> argparse.Namespace:
    case = Case(tmp_path)
    texts = ["--text", str(case.text), "--valid", str(case.text), "--out", str(tmp_path / "out")]
    few = ["--svae-tokens", "4096", "--valid-records", "2", "--processes", "1"]
    return scaling.parser().parse_args([*texts, *few, *options])


def figures(size: scaling.Size) -> dict[str, object]:
    return {
        "name": size.name,
        "width": size.width,
        "layers": size.layers,
        "backbone_layers": size.backbone,
        "parameters": size.width * 1000 * (size.backbone or size.layers),
        "perplexity": 1000 / size.width / size.layers,
    }


def test_a_model_is_trained_once(tmp_path, monkeypatch):
    args = arguments(tmp_path)
    size = scaling.Size(64, 1)
    trained = scaling.train(size, args)
    assert trained["name"] == "svae-64-h1"
    assert trained["tokens"] == 4096
    # An embedding, and encoder and decoder of one layer each, of width 64.
    assert 4096 * 64 < trained["parameters"] < 4 * 4096 * 64
    assert 1 < trained["perplexity"] < scaling.VOCAB_SIZE * 2
    monkeypatch.setattr(scaling, "run", None)
    assert scaling.train(size, args) == trained


def test_all_sizes_are_in_the_tables(tmp_path):
    results = [figures(size) for size in scaling.sizes()]
    assert len(results) == 12
    table = scaling.tables(results)
    assert "| 64 | 15.62 | 7.81 | 3.91 | 768 | 3.605 | 2.588 | 1.649 |" in table
    assert "| sllm-256-h1 | 1.54 M | 3.91 | 1610 M | 8.76 |" in table


def test_the_picture_is_the_same_each_time(tmp_path):
    results = [figures(size) for size in scaling.sizes()]
    first, second = tmp_path / "1.svg", tmp_path / "2.svg"
    scaling.draw(results, first)
    scaling.draw(results, second)
    assert first.read_bytes() == second.read_bytes()
    assert "next-sentence perplexity" in first.read_text()
