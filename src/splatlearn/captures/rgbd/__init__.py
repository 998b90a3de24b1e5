"""Captures of depth cameras: a file with the pose of each photograph, and one with the intrinsics of all."""
