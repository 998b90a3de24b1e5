"""What computes each step of rendering: the specification in PyTorch, the compiled CPU kernels, Triton kernels."""
