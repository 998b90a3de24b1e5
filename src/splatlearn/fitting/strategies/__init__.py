"""Strategies of a scene: when Gaussians are added, split, moved and removed."""
