"""Where images come from: folders, tables, the Hub, bundled photographs, and the samples that they give."""
