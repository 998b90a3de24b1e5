"""Photographs as a pinhole camera would have taken them, and panoramas: decoded when needed, within a budget."""

from splatlearn.captures.photographs.photographs import Photo, Photographs

__all__ = ["Photo", "Photographs"]
