"""What the pictures of a fit are compared by: the loss of 3D Gaussian Splatting, and the metrics SSIM and PSNR."""
