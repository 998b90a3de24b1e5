"""gsplat's rasteriser on CUDA, for whole scenes: an oracle for our kernels, and a stop-gap where they are slow."""
