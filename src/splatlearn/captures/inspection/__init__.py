"""Inspection of a capture before a fit: its facts, and its problems."""

from splatlearn.captures.inspection.inspect import Inspection, inspect_capture

__all__ = ["Inspection", "inspect_capture"]
