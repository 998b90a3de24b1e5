"""Parameters of single photographs in a fit, applied between the scene and the pictures of a step."""
