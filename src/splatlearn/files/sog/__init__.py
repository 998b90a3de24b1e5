"""SOG (PlayCanvas)."""
