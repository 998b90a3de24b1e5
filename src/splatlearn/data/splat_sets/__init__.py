"""Sets of Gaussians as samples: folders of splat files, placement, drawing and augmentation."""
