"""From a decoded token to Gaussians: the last layers, and the meaning of the numbers that they predict."""
