"""What the pictures of a fit are compared by: the loss of 3D Gaussian Splatting, and the metrics SSIM and PSNR."""

from splatlearn.fitting.losses.metrics import Padding, psnr, ssim
from splatlearn.fitting.losses.photometric import photometric_loss

__all__ = ["Padding", "photometric_loss", "psnr", "ssim"]
