"""Measures of what was learned."""

from splatlearn.evaluation.reconstruction import evaluating, masked_psnr, mean_of_visible, psnr, shown_image

__all__ = ["evaluating", "masked_psnr", "mean_of_visible", "psnr", "shown_image"]
