"""What every room stands on: the family of errors and files that are written whole."""
