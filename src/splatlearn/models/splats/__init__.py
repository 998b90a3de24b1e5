"""Masked models of splat sets: the numbers that they see, encoder, decoder, and what they predict."""
