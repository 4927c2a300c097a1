"""The tokenizer and the texts of the golden models: byte-level BPE with 64 tokens, OPT's layout."""

from __future__ import annotations

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors

BOS = EOS = 2
PAD = 1
VOCAB_SIZE = 64

SPECIALS = ["<s>", "<pad>", "</s>", "<unk>"]
LETTERS = "abcdefghijklmnopqrstuvwxyzHIST"
MARKS = ".,!?;:\"'"
OTHER = " \n，é"
"""Space, newline and two characters of several bytes each, for streaming tests."""
MERGES = ["Ġ t", "h e", "Ġt he", "i n", "a n", "Ġ a", "l l", "o r", "an d", "Ġ s", "Ġ w", "e r"]

PROMPT = ["Hello, ", "the cat sat on the hill. ", "She ran，", "and then? "]
STORY = [*PROMPT, "Is it so; ", "café! ", "The end."]
"""The tiny models are trained to continue PROMPT to STORY, and then to stop."""


def tiny_tokenizer() -> Tokenizer:
    """Ids 0 to 3 are OPT's special tokens; `</s>` (2) is put in front of each text."""
    to_symbols = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    text = LETTERS + MARKS + OTHER
    symbols = list(dict.fromkeys(to_symbols.pre_tokenize_str(text)[0][0]))
    merges = [(left, right) for left, right in (merge.split() for merge in MERGES)]
    tokens = SPECIALS + symbols + [left + right for left, right in merges]
    if len(tokens) > VOCAB_SIZE:
        raise ValueError(f"{len(tokens)} tokens do not fit in {VOCAB_SIZE}")
    vocab = {token: index for index, token in enumerate(tokens)}
    tokenizer = Tokenizer(models.BPE(vocab, merges, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(t, special=True) for t in ("<pad>", "</s>")])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="</s> $A", pair="</s> $A </s> $B:1", special_tokens=[("</s>", BOS)]
    )
    return tokenizer
