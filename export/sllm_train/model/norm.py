"""What the layer norms of all parts have in common."""

NORM_EPS = 1e-5
