"""Recipes of a reconstruction: options, presets, and the parts of the fit that they choose."""
