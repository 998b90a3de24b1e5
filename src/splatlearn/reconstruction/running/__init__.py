"""A reconstruction while it runs: its start, the loop over steps, and what it saves."""
