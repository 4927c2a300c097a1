"""Tell a story, and turn sentences into vectors and back."""

from __future__ import annotations

import sys

import sllm_ort


def main(path: str) -> None:
    """Use the bundle in this directory."""
    model = sllm_ort.Model(path)
    session = model.session("Once upon a time, there was a little fox. ")
    print(session.text, end="")
    for sentence in session.generate(max_sentences=4, temperature=0.7, seed=1):
        print(sentence.text, end="", flush=True)
    print()

    vectors = model.encode(["The fox was happy. ", "The fox was sad. "])
    print(vectors.shape, vectors.dtype)
    for text in model.decode(vectors):
        print(text)


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "models/sllm-stories")
