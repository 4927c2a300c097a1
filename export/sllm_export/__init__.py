"""Turns SentenceVAE, SLLM and OPT checkpoints into bundles of ONNX graphs for `sllm-ort`."""

__version__ = "0.1.0"
