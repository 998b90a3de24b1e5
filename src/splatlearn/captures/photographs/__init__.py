"""Photographs as a pinhole camera would have taken them, decoded when needed, within a budget of memory."""

from splatlearn.captures.photographs.photographs import Photo, Photographs

__all__ = ["Photo", "Photographs"]
