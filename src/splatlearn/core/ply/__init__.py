"""PLY containers: tables of numbers by name, read and written, whatever they describe."""
