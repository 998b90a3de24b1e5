"""Captures described by transforms.json: nerfstudio's, instant-ngp's and Blender's."""
