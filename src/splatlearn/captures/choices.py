"""Numbers that commands show as defaults, apart from what they are used by: the help needs no PyTorch."""

LOOKED_AT = 300
"""Photographs that an inspection decodes at most."""
