"""splatlearn: image representations learned by painting with Gaussians."""
