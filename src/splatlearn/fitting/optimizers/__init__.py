"""Optimisers whose state follows Gaussians that are added, moved and removed."""
