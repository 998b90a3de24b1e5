"""Models on disk and on the Hub: configuration, weights and model card."""
