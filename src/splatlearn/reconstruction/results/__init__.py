"""Results of a reconstruction: scores, pictures, and the scene in its folder."""
