"""The checkpoint that the memory is measured with is one that can be read."""

import numpy as np
from helpers import random_weights, tiny

from measure_memory import write_torch_file
from sllm_export.checkpoint import open_checkpoint
from sllm_export.checkpoint.expected import check_tensors, expected_shapes


def test_written_checkpoint_is_read(tmp_path):
    config, weights = random_weights(tiny())
    path = tmp_path / "x.pth"
    write_torch_file(weights, path)
    state_dict = open_checkpoint(path)
    check_tensors(state_dict, expected_shapes(config))
    for name in weights.shapes:
        np.testing.assert_array_equal(state_dict.load(name), weights.load(name))
