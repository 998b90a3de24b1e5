"""COLMAP's sparse models, binary and text, of every version."""
