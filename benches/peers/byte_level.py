"""A byte-level BPE tokenizer of invented words, as GPT-2's and OPT's are, for models of any size.

Ids after the single bytes are words such as " w300", so that each generated token is a word.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from sllm_export.config import ModelConfig, load_config

MERGE = ("Ġ", "w")
"""The only merge: formats of tokenizers require one."""


def vocabulary(config: ModelConfig) -> list[str]:
    """The token of each id: special tokens, 256 single bytes, the merge's result, words.

    A vocabulary that is too small for all bytes has the first ones.
    """
    special = {config.tokens.pad: "<pad>", config.tokens.bos: "<s>", config.tokens.eos: "</s>"}
    pieces = iter([*_byte_symbols(), "".join(MERGE)])
    # bos and eos of OPT are the same id, whose token is eos.
    return [
        special[number] if number in special else next(pieces, f"Ġw{number}")
        for number in range(config.vocab_size)
    ]


def tokenizer_json(config: ModelConfig) -> dict[str, Any]:
    """The tokenizer as Hugging Face's tokenizer.json."""
    found = vocabulary(config)
    byte_level = {
        "type": "ByteLevel",
        "add_prefix_space": False,
        "trim_offsets": True,
        "use_regex": True,
    }
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    special = sorted({config.tokens.pad, config.tokens.bos, config.tokens.eos})
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {"id": number, "content": found[number], "special": True} | flags for number in special
        ],
        "normalizer": None,
        "pre_tokenizer": byte_level,
        "post_processor": None,
        "decoder": byte_level,
        "model": {
            "type": "BPE",
            "vocab": {token: number for number, token in enumerate(found)},
            "merges": [list(MERGE)],
        },
    }


def _byte_symbols() -> list[str]:
    """Byte-level BPE's character of each byte: itself if printable, else one from 256 on."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = (number for number in range(256) if number not in printable)
    shifted = {number: 256 + place for place, number in enumerate(others)}
    return [chr(shifted.get(number, number)) for number in range(256)]


def main() -> None:
    """Print the tokenizer.json of a configuration: `python -m peers.byte_level CONFIG`."""
    print(json.dumps(tokenizer_json(load_config(Path(sys.argv[1])))))


if __name__ == "__main__":
    main()
