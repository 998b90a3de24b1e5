"""`.sl3`: its entropy coder, its numbers, its bytes, and what it makes of damage."""

import hashlib
import json
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from files.clouds import covariances, picture, psnr, random_cloud, sh_of
from splatlearn.core.errors import Malformed
from splatlearn.core.gaussians import Gaussians
from splatlearn.core.geometry.quaternions import quaternions_to_matrices
from splatlearn.files import SplatFileError, read_splat_file, read_splats, write_splats
from splatlearn.files.sl3 import coder, encoder, numbers, quantising, reader, tokens, writer
from splatlearn.files.sl3.header import HEAD
from splatlearn.files.sl3.quantising import DEAD, Sensitivities, Table, quantised
from splatlearn.files.sl3.writer import sl3_bytes
from splatlearn.files.stored import Stored


def entropy_bytes(symbols: np.ndarray) -> float:
    """The empirical entropy of a table whose columns are independent, in bytes."""
    bits = 0.0
    for column in symbols.T:
        counts = np.bincount(column)
        shares = counts[counts > 0] / len(column)
        bits -= len(column) * float((shares * np.log2(shares)).sum())
    return bits / 8


@settings(max_examples=60)
@given(
    arrays(np.uint8, st.tuples(st.integers(1, 400), st.integers(1, 3)), elements=st.integers(0, tokens.SYMBOLS - 1)),
)
def test_any_table_comes_back(symbols: np.ndarray) -> None:
    columns = symbols.shape[1]
    model = encoder.fitted_model(symbols, tokens.SIZES, [1, columns - 1] if columns > 1 else [1])
    data = encoder.encode(symbols, model)
    np.testing.assert_array_equal(coder.decode(data, len(symbols), model), symbols)


def test_the_coder_is_within_2_percent_of_the_entropy() -> None:
    rng = np.random.default_rng(0)
    symbols = np.stack([rng.geometric(share, 60_000).clip(1, 40) for share in (0.9, 0.3, 0.08)], axis=1).astype(
        np.uint8
    )
    model = encoder.fitted_model(symbols, np.zeros(tokens.SYMBOLS, np.uint8), [3])
    size = len(encoder.encode(symbols, model))
    assert entropy_bytes(symbols) < size < 1.02 * entropy_bytes(symbols)


def test_what_comes_above_tells_what_comes_below() -> None:
    # Long stretches of zeros and of large numbers: alone, each is as likely as the other.
    rng = np.random.default_rng(0)
    large = np.repeat(rng.integers(0, 2, 600), 100)[:, None]
    symbols = (large * rng.integers(20, 24, (60_000, 1))).astype(np.uint8)
    size = len(encoder.encode(symbols, encoder.fitted_model(symbols, tokens.SIZES, [1])))
    alone = len(encoder.encode(symbols, encoder.fitted_model(symbols, np.zeros(tokens.SYMBOLS, np.uint8), [1])))
    assert size < 0.75 * alone


def test_what_comes_to_the_left_tells_what_comes_to_the_right() -> None:
    rng = np.random.default_rng(0)
    symbols = (rng.integers(0, 2, (30_000, 1)) * rng.integers(20, 24, (30_000, 3))).astype(np.uint8)
    together, apart = (
        len(encoder.encode(symbols, encoder.fitted_model(symbols, tokens.SIZES, groups))) for groups in ([3], [1, 1, 1])
    )
    assert together < 0.8 * apart


def test_frequencies_add_up() -> None:
    rng = np.random.default_rng(0)
    places = rng.integers(0, len(coder.LEVELS), (3, coder.CONTEXTS, tokens.SYMBOLS)).astype(np.uint8)
    places *= rng.random(places.shape) < 0.5
    places[0, 0] = 0
    # One symbol that always comes, and one that hardly does.
    places[1, 1], places[1, 1, 4], places[1, 1, 9] = 0, len(coder.LEVELS) - 1, 1
    thresholds = np.ones((3, coder.CONTEXTS - 1), np.uint8)
    found = coder.Model(places, thresholds, tokens.SIZES, [3]).frequencies().reshape(places.shape)
    np.testing.assert_array_equal(found.sum(axis=2), np.where(places.any(axis=2), coder.WHOLE, 0))
    np.testing.assert_array_equal(found > 0, places > 0)
    assert found[1, 1, 9] == 1


def test_streams_that_are_cut_or_changed() -> None:
    rng = np.random.default_rng(0)
    symbols = rng.geometric(0.3, (500, 4)).clip(1, 40).astype(np.uint8)
    model = encoder.fitted_model(symbols, tokens.SIZES, [4])
    data = encoder.encode(symbols, model)
    for broken in (data[:-2], data + b"\0\0", data[:3], data[:-1], bytes(len(data))):
        with pytest.raises(Malformed, match="stream: "):
            coder.decode(broken, len(symbols), model)


@given(arrays(np.int64, st.integers(1, 60), elements=st.integers(-(tokens.LARGEST // 2), tokens.LARGEST // 2)))
def test_numbers_of_any_size_are_tokens_and_bits(values: np.ndarray) -> None:
    folded = encoder.folded(values)
    np.testing.assert_array_equal(tokens.unfolded(folded), values)
    found, bits = encoder.tokens_of(folded)
    assert int(found.max()) < tokens.SYMBOLS
    np.testing.assert_array_equal(tokens.numbers_of(found, bits), folded)
    if bits:
        with pytest.raises(Malformed, match="bits: expected"):
            tokens.numbers_of(found, bits[:-1])


def stored_of(cloud: Gaussians) -> Stored:
    found = {name: each.numpy() for name, each in cloud.tensors().items()}
    return Stored(found["means"], np.log(found["scales"]), found["quaternions"], found["opacities"], found["sh"])


def random_sensitivities(count: int, least: float = -8) -> Sensitivities:
    """Numbers that differ by five orders of magnitude, the least first, and those of one Gaussian by less."""
    rng = np.random.default_rng(1)
    of_gaussian = 10.0 ** rng.uniform(least, least + 5, count)
    return Sensitivities(*(of_gaussian * 10.0 ** rng.uniform(-1, 1, (5, count))))


def units_of(table: Table) -> dict[str, np.ndarray]:
    return {part: each << table.features.shifts(part)[:, None] for part, each in table.numbers.items()}


@pytest.mark.parametrize("known", [None, random_sensitivities(500)], ids=["usual", "known"])
def test_every_number_is_within_half_a_step(known: Sensitivities | None, generator: torch.Generator) -> None:
    cloud = random_cloud(generator, 500, 2)
    # Some lie far outside, where steps are larger.
    cloud.means[:50] *= 30
    stored = stored_of(cloud)
    table = quantised(stored, 1.0, known)
    steps, shifts = table.features.steps, table.features.shifts
    found = numbers.from_units(units_of(table), steps, table.basis)
    long = {part: 0.5001 * torch.from_numpy(2.0 ** shifts(part))[:, None] for part in numbers.SHIFTED}
    sizes = (cloud.means.double() - torch.tensor(steps.center)).abs() / steps.radius
    unit = steps.radius / steps.positions * 2 ** torch.log2(1 + sizes).floor()
    # Half a step may lead into the next segment, whose units are twice as large.
    errors = (found.means - cloud.means).abs()
    assert (errors <= 2 * long["positions"] * unit + 1e-5).all()
    assert (errors <= long["positions"] * unit + 1e-5).double().mean() > 0.98
    assert (found.opacities - cloud.opacities).abs().max() <= 0.5001 / steps.opacities
    # Errors of luma and differences add up.
    first, rest = (sh_of(found) - sh_of(cloud)).abs().double().split([1, 8], dim=1)
    assert (first[:, 0] <= 3 * long["colors"] * steps.color + 1e-6).all()
    # Those of eight directions too; a number that is not worth a token may be off by DEAD.
    assert (rest.norm(dim=1) <= 2 * DEAD * 3 * 8**0.5 * long["harmonics"] * steps.harmonics + 1e-4).all()
    if known is None:
        one, two = (each.scales.sort(dim=1).values.log2() for each in (found, cloud))
        # Axes may have changed names: what is compared is the ellipsoid.
        assert (one - two).abs().max() <= 0.75 / steps.scales
        spread = (covariances(found) - covariances(cloud)).flatten(1).norm(dim=1)
        assert (spread / covariances(cloud).flatten(1).norm(dim=1)).max() < 0.12


def test_steps_are_finer_where_pictures_change_more(generator: torch.Generator) -> None:
    # Where pictures change less, all steps have reached their bounds.
    cloud, known = random_cloud(generator, 500, 1), random_sensitivities(500, -3)
    features = quantised(stored_of(cloud), 1.0, known).features
    for part, each in [("positions", known.positions), ("scales", known.scales), ("colors", known.colors)]:
        shifts = features.shifts(part)
        assert np.corrcoef(shifts, np.log2(each))[0, 1] < -0.7
        assert 3 <= len(np.unique(shifts))


def test_what_asks_for_finer_steps_than_a_file_holds_gets_the_finest(generator: torch.Generator) -> None:
    cloud, known = random_cloud(generator, 500, 0), random_sensitivities(500)
    stored = stored_of(cloud)
    errors = []
    for factor in (1.0, 1e4, 1e8, 1e16):
        table = quantised(stored, 1.0, Sensitivities(**{name: factor * each for name, each in vars(known).items()}))
        found = numbers.from_units(units_of(table), table.features.steps, table.basis)
        errors.append(float((found.means - cloud.means).abs().max()))
    assert errors == sorted(errors, reverse=True)
    for part in ("positions", "scales", "rotations"):
        assert getattr(table.features.steps, part) == quantising.MOST_COUNTS[part]
        assert not table.features.shifts(part).any()


def test_axes_get_the_names_that_turn_least(generator: torch.Generator) -> None:
    cloud = random_cloud(generator, 300, 0)
    quaternions, log_scales = quantising._least_turned(cloud.quaternions.numpy(), cloud.scales.log().numpy())
    turned = Gaussians(
        cloud.means,
        torch.from_numpy(log_scales).exp(),
        torch.from_numpy(quaternions).float(),
        cloud.opacities,
        sh=cloud.sh,
    )
    torch.testing.assert_close(covariances(turned), covariances(cloud), rtol=1e-4, atol=1e-6)
    # No rotation is farther than 62.8° from one of the cube's.
    assert quaternions[:, 0].min() > np.cos(np.radians(62.8) / 2) - 1e-6
    traces = quaternions_to_matrices(turned.quaternions).diagonal(dim1=-2, dim2=-1).sum(-1)
    assert traces.min() > 1 + 2 * np.cos(np.radians(62.8)) - 2 - 1e-4


def test_luma_and_differences_come_back() -> None:
    colors = np.random.default_rng(0).integers(-500, 500, (200, 4, 3))
    # In quarters, luma and differences of whole numbers are whole.
    coded = (4 * quantising._with_luma(colors.astype(np.float64))).astype(np.int64)
    np.testing.assert_array_equal(numbers._without_luma(coded), 4 * colors)


def test_differences_in_steps_of_their_own_come_back() -> None:
    rng = np.random.default_rng(0)
    table, shifts = rng.integers(-300, 300, (101, 3)), rng.integers(0, numbers.MOST_SHIFT + 1, 101)
    for lanes in (1, 4, 101):
        differences = table - writer.predicted(table, shifts, lanes)
        found = reader.restored(differences, np.array([True, True, True]), shifts, lanes)
        np.testing.assert_array_equal(found, table)


@pytest.mark.parametrize("degree", [0, 3, *(pytest.param(degree, marks=pytest.mark.large) for degree in (1, 2, 4))])
def test_pictures_survive(degree: int, tmp_path: Path, generator: torch.Generator) -> None:
    cloud = random_cloud(generator, degree=degree)
    write_splats(tmp_path / "scene.sl3", cloud)
    found = read_splat_file(tmp_path / "scene.sl3")
    assert (found.format, found.degree, found.count, found.writer) == ("sl3", degree, 300, "splatlearn")
    assert psnr(picture(found.gaussians), picture(cloud)) > 36


def test_coarser_files_are_smaller_and_worse(tmp_path: Path, generator: torch.Generator) -> None:
    cloud = random_cloud(generator, 2000, 3)
    sizes, errors = [], []
    for coarseness in (0.25, 0.5, 1.0, 2.0, 4.0):
        write_splats(tmp_path / "scene.sl3", cloud, coarseness=coarseness)
        sizes.append((tmp_path / "scene.sl3").stat().st_size)
        errors.append(psnr(picture(read_splats(tmp_path / "scene.sl3")), picture(cloud)))
    assert sizes == sorted(sizes, reverse=True) and errors == sorted(errors, reverse=True)
    assert sizes[-1] < 0.5 * sizes[0]


def grid_cloud() -> Gaussians:
    steps = torch.arange(96.0).reshape(32, 3)
    return Gaussians(
        means=steps / 8,
        scales=2.0 ** (steps.remainder(5) - 3),
        quaternions=torch.nn.functional.one_hot(torch.arange(32) % 4, 4).float(),
        opacities=torch.arange(1, 33) / 64,
        sh=(steps[:, None] / 64 - 0.5).expand(32, 4, 3),
    )


def test_reading_gives_the_same_bits_everywhere(tmp_path: Path) -> None:
    # The bytes of an earlier file, not of the writer of today.
    path = Path(__file__).parent / "stored" / "grid.sl3"
    digest = hashlib.sha256()
    for each in read_splats(path).tensors().values():
        digest.update(each.contiguous().numpy().tobytes())
    assert digest.hexdigest()[:16] == "f68563931ccf1e44"
    wanted = grid_cloud()
    assert psnr(picture(read_splats(path)), picture(wanted)) > 30


def test_order_and_ties_do_not_depend_on_the_run(tmp_path: Path, generator: torch.Generator) -> None:
    cloud = random_cloud(generator, 700, 1)
    assert sl3_bytes(cloud) == sl3_bytes(cloud)


def test_progress_is_told_to_the_end(tmp_path: Path, generator: torch.Generator) -> None:
    cloud, told = random_cloud(generator, 3000, 0), []
    write_splats(tmp_path / "scene.sl3", cloud, told=lambda *each: told.append(each))
    shares = [done / total for done, total in told]
    assert len(shares) > 4 and shares == sorted(shares) and shares[-1] == 1
    write_splats(tmp_path / "scene.ply", cloud, told=lambda *each: told.append(each))
    assert told[-1] == (1, 1)


def test_many_rows_are_rounded_in_parts_as_in_one(generator: torch.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    stored = stored_of(random_cloud(generator, 500, 2))
    whole = quantised(stored, 1.0, None)
    folded = encoder.folded(whole.all.astype(np.int64))
    tokens_of_whole, bits_of_whole = encoder.tokens_of(folded)
    monkeypatch.setattr(quantising, "ROWS_AT_ONCE", 64)
    monkeypatch.setattr(encoder, "AT_ONCE", 1000)
    parts = quantised(stored, 1.0, None)
    np.testing.assert_array_equal(parts.all[:, :14], whole.all[:, :14])
    # The map of harmonics is one of sums, which are rounded.
    assert (parts.all != whole.all).mean() < 0.01
    found, bits = encoder.tokens_of(folded)
    np.testing.assert_array_equal(found, tokens_of_whole)
    assert bits == bits_of_whole


def changed(data: bytes, **changes: object) -> bytes:
    """The file with other entries in its header."""
    _, _, size = HEAD.unpack_from(data)
    header = json.loads(data[HEAD.size : HEAD.size + size])
    header |= changes
    text = json.dumps(header).encode()
    return HEAD.pack(b"SL3", 2, len(text)) + text + data[HEAD.size + size :]


def test_damage_is_named(tmp_path: Path, generator: torch.Generator) -> None:
    data = sl3_bytes(random_cloud(generator, 200, 1))
    head = json.loads(data[HEAD.size : HEAD.size + HEAD.unpack_from(data)[2]])
    steps = head["steps"]
    sections = head["sections"]
    model = zlib.compress(bytes(100))
    other = {"model": [len(model), zlib.crc32(model)], "tokens": [0, 0], "bits": [0, 0]}
    swapped = data[: len(data) - sum(size for size, _ in sections.values())]
    for broken, message in [
        (b"SL3\1" + data[4:], "expected .sl3 of version 2, got version 1; it was never released; write the file anew"),
        (b"SL3\3" + data[4:], "expected .sl3 of version 2, got version 3; a newer splatlearn may read it"),
        (data[:6], "expected a head of 8 bytes, got 6"),
        (data[:60], "the file is cut off"),
        (data[:-1], "bits: expected .* the file is damaged"),
        (data + b"\0", "expected .* bytes, got"),
        (data[:-9] + b"\xff" + data[-8:], "the file is damaged"),
        (b"SL3\2" + struct.pack("<I", 4) + b"junk", "header: expected JSON"),
        (changed(data, count=0), "expected at least one Gaussian"),
        (changed(data, count=201), "stream: "),
        (changed(data, count=19_000_000), "sl3: expected at most 1024 bytes from each byte"),
        (changed(data, count=1 << 40), "expected at most 20000000 Gaussians"),
        (changed(data, degree=9), "expected harmonics of degree 0 to 4, got 9"),
        (changed(data, differences="01"), "differences: expected 23 digits"),
        (changed(data, frame="XYZ"), "frame: expected the directions"),
        (changed(data, steps={}), "steps: expected center, radius"),
        (changed(data, steps=steps | {"scales": 0}), "scales: expected 1 to 65536 steps, got 0"),
        (changed(data, steps=steps | {"radius": 1e30}), "radius: expected a number within"),
        (changed(data, steps=steps | {"radius": float("nan")}), "radius: expected a number within"),
        (changed(data, steps=steps | {"center": [0, 0]}), "center: expected three numbers"),
        (changed(data, steps=steps | {"shifts": {}}), "shifts: expected scales, rotations"),
        (changed(data, steps=steps | {"shifts": steps["shifts"] | {"colors": [0.5] * 6}}), "shifts: expected 6 whole"),
        (changed(data, sections={"model": [1, 2]}), "header: expected the sections model, tokens, bits"),
        (changed(swapped + model, sections=other), "model: expected .* bytes, got 100"),
    ]:
        (tmp_path / "broken.sl3").write_bytes(broken)
        with pytest.raises(SplatFileError, match=message):
            read_splats(tmp_path / "broken.sl3")
