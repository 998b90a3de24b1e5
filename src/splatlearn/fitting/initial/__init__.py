"""First Gaussians of a fit: from images, from points, at random, and from the Gaussians of any tool."""
