"""A still life that the package renders itself: photographs with exact cameras, without a download."""
