"""Meshes, points and voxels of single objects to sets of splats, many of them in one run."""
