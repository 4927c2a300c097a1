"""Measures sllm-ort beside other ways to run the same models, in turn: `make bench-peers`."""
