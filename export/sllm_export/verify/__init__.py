"""Checks of a written graph against the checkpoint that it was made from."""
