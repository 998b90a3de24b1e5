"""Files that are written whole or not at all, and what a command may replace."""
