"""The format .ksplat (GaussianSplats3D)."""
