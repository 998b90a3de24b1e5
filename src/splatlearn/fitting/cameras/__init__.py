"""Cameras that are fitted along: poses, motion during the exposure, focus, and the pose of a new photograph."""
