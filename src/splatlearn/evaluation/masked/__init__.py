"""Reconstruction of hidden patches."""
