"""What is in a capture, and what is wrong with it, before anything is fitted."""

from splatlearn.captures.inspection.inspect import Inspection, inspect_capture

__all__ = ["Inspection", "inspect_capture"]
