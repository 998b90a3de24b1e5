"""Rotations, axis conventions and spherical harmonics, as functions of tensors."""
