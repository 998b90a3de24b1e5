"""Fixtures that every test may use."""

import os
from collections.abc import Iterator

import jaxtyping
import matplotlib
import pytest
import torch
from hypothesis import settings

matplotlib.use("Agg")
# Machines differ in speed; nothing in the tests is timed.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")
if "OMP_NUM_THREADS" in os.environ:
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
if "SPLATLEARN_TESTS_BF16" in os.environ:
    # What `--precision auto` means on another processor than this one.
    fast = os.environ["SPLATLEARN_TESTS_BF16"] == "1"
    torch.cpu._is_avx512_bf16_supported = torch.cpu._is_amx_tile_supported = lambda: fast


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


@pytest.fixture
def no_shape_checks() -> Iterator[None]:
    """Switch the run-time shape checks off, so that the library's own messages are what a wrong argument meets."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)
