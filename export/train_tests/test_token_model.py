"""The token-level baseline: Hugging Face's layout and numbers, its batches, a training."""

import json

import numpy as np
import pytest
import torch
from tiny_training import Case, tiny_trained

from sllm_export.config import parse_config
from sllm_train.batches import Window
from sllm_train.objective import Sums
from sllm_train.optimizer import gradient_of
from sllm_train.token_model import TokenModel
from sllm_train.token_objective import collate_tokens, evaluate_tokens, sequence, train_tokens

FP32 = torch.autocast("cpu", enabled=False)


def opt_config(**changes):
    trained = tiny_trained()
    backbone = dict(trained["backbone"])
    backbone.pop("prefill_attention")
    backbone |= {"max_positions": 24, "word_embed_size": trained["hidden_size"], **changes}
    names = ("vocab_size", "hidden_size", "tokens")
    kept = {name: trained[name] for name in names}
    return {"name": "opt-tiny", "kind": "opt", **kept, "backbone": backbone}


def window(*lengths, ends=True, start=3):
    sentences = [np.arange(start, start + n) for n in lengths]
    return Window(sentences, ends=ends)


def test_sequences():
    tokens = parse_config(opt_config()).tokens
    bos, eos = tokens.bos, tokens.eos
    assert sequence(window(2, 1), tokens, 9).tolist() == [bos, 3, 4, 3, eos]
    assert sequence(window(2, ends=False), tokens, 9).tolist() == [bos, 3, 4]
    # As many inputs as positions, and one more target.
    assert sequence(window(5, 5), tokens, 4).tolist() == [bos, 3, 4, 5, 6]


def test_batches_hold_each_target_once():
    tokens = parse_config(opt_config()).tokens
    windows = [window(2), window(7, 3), window(4, ends=False)]
    batch = collate_tokens(windows, tokens, 24, group_tokens=12)
    targets = sorted(int(t) for g in batch.groups for t in g.targets.flatten() if t >= 0)
    wanted = sorted(int(t) for w in windows for t in sequence(w, tokens, 24)[1:])
    assert targets == wanted
    assert batch.tokens == len(wanted)


@pytest.mark.parametrize("changes", [{}, {"word_embed_size": 8}, {"norm_first": False}])
def test_gradients_are_those_of_the_mean_loss(changes):
    config = parse_config(opt_config(**changes))
    torch.manual_seed(0)
    model = TokenModel(config)
    windows = [window(2), window(7, 3), window(4, ends=False)]
    batch = collate_tokens(windows, config.tokens, 24, group_tokens=12)
    sums = train_tokens(model, batch, Sums(following_tokens=batch.tokens), FP32)
    found = {name: gradient_of(p).clone() for name, p in model.named_parameters()}
    model.zero_grad()
    losses = [
        torch.nn.functional.cross_entropy(
            model(g.ids).flatten(0, 1), g.targets.flatten(), ignore_index=-100, reduction="sum"
        )
        for g in batch.groups
    ]
    total = torch.stack(losses).sum()
    (total / batch.tokens).backward()
    assert sums.following == pytest.approx(float(total.detach()), rel=1e-5)
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(found[name], parameter.grad, atol=1e-5, rtol=1e-4)
    sizes = np.ones(config.vocab_size, np.int64)
    report = evaluate_tokens(model, windows, config.tokens, 24, sizes, FP32)
    assert report["tokens"] == batch.tokens
    assert report["loss"] == pytest.approx(float(total.detach()) / batch.tokens, rel=1e-5)


def test_it_is_hugging_faces_opt():
    transformers = pytest.importorskip("transformers")
    config = parse_config(opt_config())
    backbone = config.require_backbone()
    theirs = transformers.OPTForCausalLM(
        transformers.OPTConfig(
            vocab_size=config.vocab_size,
            hidden_size=config.hidden_size,
            num_hidden_layers=backbone.layers,
            num_attention_heads=backbone.heads,
            ffn_dim=backbone.ffn_size,
            max_position_embeddings=backbone.max_positions,
            word_embed_proj_dim=backbone.word_embed_size,
            pad_token_id=config.tokens.pad,
            bos_token_id=config.tokens.bos,
            eos_token_id=config.tokens.eos,
            dropout=0.0,
        )
    ).eval()
    model = TokenModel(config).eval()
    state = {k: v for k, v in theirs.state_dict().items() if k != "lm_head.weight"}
    model.load_state_dict(state)
    ids = torch.randint(3, config.vocab_size, (2, 9))
    with torch.no_grad():
        torch.testing.assert_close(model(ids), theirs(ids).logits, atol=1e-5, rtol=1e-4)


def test_a_training_makes_a_bundle(tmp_path, capsys):
    case = Case(tmp_path)
    case.config.write_text(json.dumps(opt_config(max_positions=64)))
    arguments = ["--stage", "opt", "--segmentation", "clauses", "--steps", "3"]
    assert case.run(*arguments) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["perplexity"] > 1
    assert report["bits_per_byte"] > 0
    from sllm_export import cli

    out = tmp_path / "bundle"
    files = ["--config", case.config, "--checkpoint", case.out / "model.safetensors"]
    files += ["--tokenizer", case.out / "tokenizer.json", "--segmentation", "clauses"]
    assert cli.main(["bundle", *map(str, files), "--out", str(out)]) == 0
    manifest = json.loads((out / "sllm.json").read_text())
    assert manifest["segmentation"]["rule"] == "clauses"
