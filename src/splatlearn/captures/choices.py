"""Defaults that commands show, in a module of their own so that the help does not load PyTorch."""

LOOKED_AT = 300
"""Photographs that an inspection decodes at most."""
