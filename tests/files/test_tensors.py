"""The folder of tensors: it holds every primitive, and says what is wrong with what is no such folder."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file

import splatlearn as sl
from scenes import random_sh
from splatlearn.core.errors import InputError, MissingError
from splatlearn.core.gaussians import Gaussians
from splatlearn.files import read_splat_file
from splatlearn.files.errors import SplatFileError
from splatlearn.fitting import as_convexes


def convexes(generator: torch.Generator) -> Gaussians:
    made = as_convexes(random_sh(generator, 2, (), 7), 4)
    assert made.shapes is not None
    return replace(made, shapes=made.shapes * (1 + 0.1 * torch.randn(7, 14, generator=generator)))


def test_every_primitive_comes_back(tmp_path: Path, generator: torch.Generator) -> None:
    plain = random_sh(generator, 1, (), 5)
    exponents = replace(plain, primitive="ges", shapes=1 + torch.rand(5, 1, generator=generator))
    for made in (convexes(generator), plain, exponents, replace(plain, primitive="surfel")):
        (tmp_path / made.primitive).mkdir()
        path = tmp_path / made.primitive / "splats.json"
        sl.write_splats(path, made, offset=(1.0, 2.5, -3.0), antialiased=True)
        for source in (path, path.parent):
            found = read_splat_file(source)
            assert (found.format, found.antialiased, found.offset) == ("tensors", True, (1.0, 2.5, -3.0))
            back = found.gaussians
            assert back.primitive == made.primitive
            for name, each in (
                replace(made, quaternions=torch.nn.functional.normalize(made.quaternions)).tensors().items()
            ):
                torch.testing.assert_close(back.tensors()[name], each, rtol=1e-6, atol=1e-6, msg=name)


def test_frames_turn_points_too(tmp_path: Path, generator: torch.Generator) -> None:
    made, camera = convexes(generator), sl.Camera.look_at((0.4, 0.3, -3.0), (0.0, 0.0, 0.0), 24, 24, 50.0)
    shown = sl.render(made, camera, depth=False, backend="torch").color
    for frame in ("RUB", "LUF", "RUF"):
        sl.write_splats(tmp_path / "splats.json", made, stored_frame=frame)
        found = read_splat_file(tmp_path)
        assert found.frame == frame
        torch.testing.assert_close(
            sl.render(found.gaussians, camera, depth=False, backend="torch").color, shown, atol=1e-4, rtol=0
        )


def test_other_formats_refuse_convexes_by_name(tmp_path: Path, generator: torch.Generator) -> None:
    made = convexes(generator).with_degree(0)
    for ending in ("ply", "spz", "sog", "splat", "glb", "sl3", "compressed.ply"):
        with pytest.raises(InputError, match="holds no 'convex'; write a folder's splats.json"):
            sl.write_splats(tmp_path / f"a.{ending}", made)


def test_what_is_wrong_is_named(tmp_path: Path, generator: torch.Generator) -> None:
    with pytest.raises(MissingError):
        sl.read_splats(tmp_path / "splats.json")
    sl.write_splats(tmp_path / "splats.json", convexes(generator))
    said = json.loads((tmp_path / "splats.json").read_text())
    for name, value in {
        "format": "other", "version": 2, "count": "7", "primitive": 1, "frame": "RRR", "offset": [1, 2],
        "antialiased": 0,
    }.items():  # fmt: skip
        (tmp_path / "splats.json").write_text(json.dumps({**said, name: value}))
        with pytest.raises(SplatFileError, match=r"splats\.json: "):
            sl.read_splats(tmp_path)
    for count in (0, 6, 10**12):
        (tmp_path / "splats.json").write_text(json.dumps({**said, "count": count}))
        with pytest.raises(SplatFileError, match="expected"):
            sl.read_splats(tmp_path)
    (tmp_path / "splats.json").write_text(json.dumps(said))
    file = tmp_path / "splats.safetensors"
    tensors = load_file(file)
    for changed in (
        {**tensors, "more": np.zeros(7, np.float32)},
        {name: each for name, each in tensors.items() if name != "means"},
        {**tensors, "means": tensors["means"][:, :2].copy()},
        {**tensors, "sh": tensors["sh"][:, :3].copy()},
        {**tensors, "opacities": tensors["opacities"].astype(np.float64)},
        {**tensors, "shapes": np.full_like(tensors["shapes"], np.nan)},
    ):
        save_file(changed, file)
        with pytest.raises(SplatFileError):
            sl.read_splats(tmp_path)
    file.write_bytes(b"no such thing")
    with pytest.raises(SplatFileError, match=r"splats\.safetensors"):
        sl.read_splats(tmp_path)
    file.unlink()
    with pytest.raises(SplatFileError, match=r"splats\.safetensors: expected a file beside splats\.json, found none"):
        sl.read_splats(tmp_path)
