"""Training of sentence-level models (needs the extra `train`: PyTorch, zstandard, tqdm)."""
