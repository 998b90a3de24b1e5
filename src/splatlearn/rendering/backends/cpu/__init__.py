"""The compiled CPU kernels of `native/`."""
