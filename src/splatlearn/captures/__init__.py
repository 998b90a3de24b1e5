"""Photographs with cameras: their lenses, readers, checks and points."""
