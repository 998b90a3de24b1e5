"""Pages of reconstructions: the scene to walk around in, and the report of a run."""
