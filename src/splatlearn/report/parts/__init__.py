"""What the pages are made of: the page, its style, curves, figures and SVG."""
