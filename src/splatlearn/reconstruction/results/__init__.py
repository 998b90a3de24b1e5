"""What a reconstruction leaves: scores, pictures, and the scene in its folder."""
