"""How a splat set becomes groups of Gaussians, each of which is one token."""
