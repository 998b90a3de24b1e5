"""Contenders that only benchmarks use."""

import numpy as np
import torch

from benchmarks.zero_shot_contenders import token_cut


def test_token_cut_finds_patches_with_other_features(generator):
    truth = torch.zeros(8, 10, dtype=torch.bool)
    truth[2:6, 2:6] = True
    ground, figure = torch.eye(6)[:2]
    features = torch.where(truth[..., None], figure, ground) + 0.05 * torch.randn(8, 10, 6, generator=generator)
    soft = token_cut(features.permute(2, 0, 1), (8, 10))
    np.testing.assert_array_equal(soft >= 0.5, truth.numpy())
