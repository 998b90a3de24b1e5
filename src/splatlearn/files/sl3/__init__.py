"""The format .sl3: quantised Gaussians behind an entropy coder that works with whole numbers only."""
