"""How well hidden patches are reconstructed."""
