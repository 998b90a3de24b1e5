"""Crops, batches, data sets of training and the loader with its worker processes."""
