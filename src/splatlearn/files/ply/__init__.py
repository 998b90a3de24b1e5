"""3DGS PLY and compressed PLY."""
