"""The format .splat (antimatter15)."""
