"""What splats are drawn as: α of each primitive, and the registry of their names."""
