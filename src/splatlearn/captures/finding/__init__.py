"""Files of a capture: archives, photographs by their names, their sizes, and masks."""
