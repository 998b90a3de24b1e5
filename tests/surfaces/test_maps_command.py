"""`splatlearn render --maps`: depth and normal maps of a plane, whose depths and normal are known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from cli.commands import run
from splatlearn.core.cameras.paths import middle_and_radius, orbit
from splatlearn.core.gaussians import Gaussians
from splatlearn.core.geometry.quaternions import quaternions_to_matrices
from splatlearn.files import read_splats, write_splats

TURN = torch.tensor([0.8, 0.5, 0.1, 0.3])


def plane() -> Gaussians:
    """A square of opaque discs in one plane through the origin."""
    line = torch.linspace(-1, 1, 12)
    flat = torch.stack([*torch.meshgrid(line, line, indexing="ij"), torch.zeros(12, 12)], dim=-1).reshape(-1, 3)
    count = len(flat)
    return Gaussians(
        means=flat @ quaternions_to_matrices(torch.nn.functional.normalize(TURN, dim=0)).T,
        scales=torch.tensor([[0.15, 0.15, 0.0]]).repeat(count, 1),
        quaternions=TURN.repeat(count, 1),
        opacities=torch.full((count,), 0.95),
        colors=torch.rand(count, 3, generator=torch.Generator().manual_seed(0)),
        primitive="surfel",
    )


def test_maps_are_those_of_the_plane(tmp_path: Path) -> None:
    write_splats(tmp_path / "plane.ply", plane())
    out = tmp_path / "out"
    arguments = ("--out", str(out), "--frames", "3", "--size", "48", "36", "--maps")
    assert run("render", str(tmp_path / "plane.ply"), *arguments) == 0
    assert sorted(each.name for each in out.iterdir() if not each.name.startswith(".")) == sorted(
        name.format(number)
        for number in range(3)
        for name in ("frame-000{}.png", "depth-000{}.npy", "normals-000{}.png")
    )
    stored = read_splats(tmp_path / "plane.ply")
    normal = quaternions_to_matrices(torch.nn.functional.normalize(TURN, dim=0))[:, 2].double()
    cameras = orbit(*middle_and_radius(stored.means, stored.opacities), 3, 36, 48, (0.0, -1.0, 0.0))
    compared = 0
    for number, camera in enumerate(cameras):
        depths = torch.from_numpy(np.load(out / f"depth-{number:04d}.npy"))
        with Image.open(out / f"normals-{number:04d}.png") as image:
            colors = torch.from_numpy(np.array(image)).double() / 255
        assert depths.shape == (36, 48) and depths.dtype == torch.float32 and colors.shape == (36, 48, 3)
        view = camera.viewmats.double()
        here, centre = view[:3, :3] @ normal, view[:3, 3]
        rows, columns = torch.meshgrid(torch.arange(36) + 0.5, torch.arange(48) + 0.5, indexing="ij")
        x, y = (columns.double() - camera.cx) / camera.fx, (rows.double() - camera.cy) / camera.fy
        rays = torch.stack([x, y, torch.ones_like(x)], dim=-1)
        expected = (centre @ here) / (rays @ here)
        # The origin is in the plane: its place before the camera is the shift of the view.
        is_seen = depths > 0
        assert bool((colors[~is_seen] == 0).all()) and 0.02 < float(is_seen.double().mean()) < 0.98
        if abs(float(here @ torch.nn.functional.normalize(centre, dim=0))) < 0.3:
            continue
        # At the rim, where the plane ends, floors of discs stand for it.
        inside = torch.nn.functional.max_pool2d((~is_seen)[None, None].double(), 5, 1, 2)[0, 0] == 0
        off = (depths.double() - expected)[inside].abs() / expected[inside]
        assert float(off.median()) < 1e-4 and float(off.quantile(0.95)) < 1e-2
        toward = -here * (here @ centre).sign()
        shown = 0.5 + 0.5 * toward * toward.new_tensor((1.0, -1.0, -1.0))
        assert float((colors[inside] - shown).abs().max()) < 1.5 / 255
        compared += int(inside.sum())
    assert compared > 200


def test_maps_of_panoramas_are_refused(tmp_path: Path, capsys) -> None:
    write_splats(tmp_path / "plane.ply", plane())
    arguments = ("--out", str(tmp_path / "out"), "--frames", "1", "--size", "16", "8", "--maps", "--panorama")
    assert run("render", str(tmp_path / "plane.ply"), *arguments) != 0
    assert "maps: expected pinhole cameras, got panoramas" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
