"""What each photograph has of its own in a fit: the joint between the scene and the pictures of a step."""
