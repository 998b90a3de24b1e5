"""The parts of a Vision Transformer: patches, positions, block, encoder and decoder."""
