"""`sllm_export train` with Muon in float32, to compare trainings that round differently."""

import sys
from unittest.mock import patch

import torch

from sllm_export.cli import main

if __name__ == "__main__":
    with patch.object(torch.Tensor, "bfloat16", torch.Tensor.float):
        sys.exit(main(["train", *sys.argv[1:]]))
