"""Files of meshes and shapes, read as triangle meshes: OFF, OBJ, PLY, points and voxels."""
