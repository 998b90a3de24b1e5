"""Gaussians in glTF 2.0, by the extension KHR_gaussian_splatting."""
