"""What every room stands on: the family of errors, files that are written whole, and what a command may replace."""
