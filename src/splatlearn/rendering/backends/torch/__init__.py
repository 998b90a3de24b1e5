"""The specification: dense PyTorch, any device, float32 and float64."""
