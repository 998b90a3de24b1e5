"""What a reconstruction is told: options, presets, and what follows from them."""
