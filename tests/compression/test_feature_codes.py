"""Packed features: what comes back, what a mixture of priors saves, and what damage is made of."""

import json

import numpy as np
import pytest
import torch

from splatlearn.compression import pack_features, residual_codes, unpack_features
from splatlearn.compression.feature_codes import HEAD
from splatlearn.core.errors import FormatError


@pytest.fixture(scope="module")
def rows() -> torch.Tensor:
    """Rows of three kinds, which differ in all parts at once."""
    generator = torch.Generator().manual_seed(0)
    kinds = torch.randn(3, 10, generator=generator)
    chosen = torch.randint(3, (900,), generator=generator)
    return kinds[chosen] + 0.1 * torch.randn(900, 10, generator=generator)


@pytest.fixture(scope="module")
def packed(rows: torch.Tensor) -> bytes:
    return pack_features(rows, 4, 8, 2, components=3)


def test_what_comes_back_is_what_codebooks_stand_for(rows: torch.Tensor, packed: bytes) -> None:
    pieces = rows.split([3, 3, 2, 2], dim=1)
    wanted = torch.cat([residual_codes(each, 2, 8, number).decoded() for number, each in enumerate(pieces)], dim=1)
    # Codebooks are stored in half precision.
    torch.testing.assert_close(unpack_features(packed), wanted, rtol=2e-3, atol=2e-3)


def test_more_codes_are_nearer_and_larger(rows: torch.Tensor) -> None:
    content = [pack_features(rows, parts, codes, stages) for parts, codes, stages in ((2, 4, 1), (5, 8, 1), (5, 16, 2))]
    errors = [float((unpack_features(each) - rows).square().mean()) for each in content]
    assert errors == sorted(errors, reverse=True) and errors[-1] < 0.3 * errors[0]
    assert [len(each) for each in content] == sorted(len(each) for each in content)


def test_a_mixture_takes_fewer_bits(rows: torch.Tensor) -> None:
    codes = {}
    for components in (1, 3):
        data = pack_features(rows, 5, 16, components=components)
        header = json.loads(data[HEAD.size : HEAD.size + HEAD.unpack_from(data)[2]])
        codes[components] = header["streams"][0]
        assert header["components"] == components
    # Beside its kind a row leaves open where it lies within it: two bits instead of three and a half for each part.
    assert codes[3] < 0.8 * codes[1]


def test_the_entropy_of_independent_codes_is_nearly_reached() -> None:
    rng = np.random.default_rng(0)
    values = torch.from_numpy(rng.choice(8, (20_000, 2), p=[0.6, 0.2, 0.1, 0.05, 0.02, 0.01, 0.01, 0.01])).float()
    data = pack_features(values, 2, 9)
    torch.testing.assert_close(unpack_features(data), values, rtol=0, atol=4e-3)
    bits = sum(
        -float((shares * np.log2(shares)).sum())
        for shares in (np.unique(each, return_counts=True)[1] / 20_000 for each in values.T.numpy())
    )
    header = json.loads(data[HEAD.size : HEAD.size + HEAD.unpack_from(data)[2]])
    assert 20_000 * bits / 8 < header["streams"][0] < 1.02 * 20_000 * bits / 8 + 100


def test_a_row_alone() -> None:
    one = torch.tensor([[0.5, -2.0, 3.0]])
    torch.testing.assert_close(unpack_features(pack_features(one, 3, components=4)), one)


def test_damage_is_named(packed: bytes) -> None:
    for length in (*range(0, len(packed), 97), len(packed) - 1):
        with pytest.raises(FormatError):
            unpack_features(packed[:length])
    rng = np.random.default_rng(0)
    for _ in range(150):
        broken = bytearray(packed)
        broken[rng.integers(len(packed))] ^= 1 << rng.integers(8)
        try:
            unpack_features(bytes(broken))
        except FormatError:
            continue
        pytest.fail("a changed bit was not found")


def test_headers_that_claim_too_much(packed: bytes) -> None:
    size = HEAD.unpack_from(packed)[2]
    header = json.loads(packed[HEAD.size : HEAD.size + size])
    for changes, message in [
        ({"rows": 1 << 40}, "features: expected at most 1024 bytes from each byte"),
        ({"rows": 0}, "rows: expected a whole number from 1"),
        ({"rows": 899}, "stream: "),
        ({"parts": 11}, "parts: expected at most 10, got 11"),
        ({"stages": 300}, "expected at most 1024 codebooks, got 1200"),
        ({"codes": 300}, "codes: expected 2 to 256, got 300"),
        ({"components": 257}, "components: expected at most 256"),
        ({"components": 2}, "lengths: expected 3, got 4"),
        ({"width": 12}, "books: expected 384 bytes"),
        ({"lengths": [1, 2, -1, 4]}, "lengths: expected sizes"),
        ({"books": [1, 2]}, "expected .* bytes, got"),
        ({"more": 1}, "header: expected"),
    ]:
        text = json.dumps(header | changes).encode()
        with pytest.raises(FormatError, match=message):
            unpack_features(HEAD.pack(b"SLF", 1, len(text)) + text + packed[HEAD.size + size :])
    with pytest.raises(FormatError, match="expected packed features of version 1, got version 2"):
        unpack_features(HEAD.pack(b"SLF", 2, 2) + b"{}")


def test_arguments_that_cannot_be(rows: torch.Tensor) -> None:
    for arguments, message in [
        ((rows, 11), "parts: expected"),
        ((rows, 2, 1), "codes: expected"),
        ((rows, 2, 8, 0), "stages: expected"),
        ((rows, 2, 8, 1, 300), "components: expected"),
        ((rows[:0], 2), "rows: expected at least one"),
        ((rows * torch.nan, 2), "rows: expected at least one, of finite numbers"),
    ]:
        with pytest.raises(ValueError, match=message):
            pack_features(*arguments)
