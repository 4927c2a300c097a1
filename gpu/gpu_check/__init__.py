"""Checks and measures sllm-ort on a machine with a GPU, from a pack that `gpu/pack.py` makes."""
