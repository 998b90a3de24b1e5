"""Depth maps from outside of a fit: of networks, in files, and of plane sweeps."""
