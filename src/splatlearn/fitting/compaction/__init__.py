"""What makes the file of a scene small while the scene is fitted."""
