"""SPZ (Niantic)."""
