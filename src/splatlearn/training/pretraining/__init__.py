"""Pre-training of masked autoencoders: recipe, loop and objective."""
