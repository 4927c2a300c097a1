"""What the exact comparison leaves out: vectors do not depend on batches but in their last bits."""

from __future__ import annotations

import numpy as np
import sllm_ort
from conftest import MODEL, TEXTS_PER_PART, Rows, make_texts


def test_vectors_are_those_of_one_text_at_a_time(expected: Rows) -> None:
    model = sllm_ort.Model(MODEL, variant="portable", threads=1)
    for index, text in enumerate(make_texts()[:TEXTS_PER_PART]):
        sentences = [sentence.text for sentence in model.segment(text)]
        found = [expected[f"text {index}", number][1] for number in range(len(sentences))]
        vectors = np.stack([np.frombuffer(data, np.float32) for data in found])
        np.testing.assert_allclose(vectors, model.encode(sentences), rtol=0, atol=1e-5)
