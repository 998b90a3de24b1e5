"""The light of each photograph: per-view colour changes, fitted along with a scene and left out of it."""
