"""Pre-training on splat sets: the cost of a batch, and the loop."""
