"""What is said of a splat file."""

from dataclasses import replace
from pathlib import Path

import torch

from files.clouds import random_cloud, sh_of
from splatlearn.core.gaussians import Gaussians
from splatlearn.files import read_splat_file, write_splats
from splatlearn.files.inspection import inspect_splats


def inspected(path: Path, cloud: Gaussians, **options):
    write_splats(path, cloud, **options)
    return inspect_splats(read_splat_file(path, drop_invalid=True), path)


def test_facts_are_those_of_the_file(tmp_path: Path, generator: torch.Generator) -> None:
    cloud = random_cloud(generator, 200, 1)
    path = tmp_path / "scene.spz"
    found = inspected(path, cloud, antialiased=True)
    assert found.problems == ()
    assert found.facts["format"] == "spz" and found.facts["Gaussians"] == "200"
    assert found.facts["size"].endswith(f"{path.stat().st_size / 200:.1f} bytes each")
    assert found.facts["axes"] == "RUB: x, y and z point right, up and to the back"
    assert found.facts["antialiased"].startswith("yes")
    # In the axes of the file, in which y points up.
    numbers = [float(each) for each in found.facts["y (least, 1 %, median, 99 %, most)"].split(", ")]
    y = -cloud.means[:, 1].sort(descending=True).values
    expected = [y[0], y[2], y[100], y[197], y[199]]
    torch.testing.assert_close(torch.tensor(numbers), torch.stack(expected), rtol=0, atol=2e-3)


def test_each_problem_is_a_sentence(tmp_path: Path, generator: torch.Generator) -> None:
    cloud = random_cloud(generator, 200, 1)
    path = tmp_path / "scene.ply"

    def problem(**changes: torch.Tensor) -> str:
        (said,) = inspected(path, replace(cloud, **changes)).problems
        return said

    faint = cloud.opacities.clone()
    faint[:20] = 0.001
    assert problem(opacities=faint).startswith("20 of 200 Gaussians (10.0 %) have opacities below 1/255")
    astray = cloud.means.clone()
    astray[:3] *= 1e4
    assert problem(means=astray).startswith("3 of 200 Gaussians (1.5 %) lie more than 100 times as far out")
    wide = cloud.scales.clone()
    wide[7] = 300
    assert problem(scales=wide).startswith("1 of 200 Gaussians (0.5 %) are wider than ten median distances")
    flat = sh_of(cloud).clone()
    flat[:, 1:] = 0
    assert problem(sh=flat) == "harmonics above degree 0 are all zero; --degree 0 loses nothing"
    assert problem(means=cloud.means + 4e6).startswith("positions are rounded to 0.48, and scales are 0.0")
    twice = torch.cat([cloud.means[:150], cloud.means[:50]]), torch.cat([cloud.scales[:150], cloud.scales[:50]])
    said = problem(means=twice[0], scales=twice[1])
    assert said == "50 of 200 Gaussians have the position and the scales of another one"


def test_coefficients_of_a_colour_are_counted(tmp_path: Path, generator: torch.Generator) -> None:
    for degree, said in ((0, "degree 0, 1 coefficient of a colour"), (2, "degree 2, 9 coefficients of a colour")):
        path = tmp_path / f"scene-{degree}.ply"
        write_splats(path, random_cloud(generator, 20, degree))
        assert inspect_splats(read_splat_file(path), path).facts["harmonics"] == said


def test_what_cannot_be_used_is_counted(tmp_path: Path, generator: torch.Generator) -> None:
    path = tmp_path / "scene.ply"
    write_splats(path, random_cloud(generator, 200, 0))
    head, mark, body = path.read_bytes().partition(b"end_header\n")
    rows = bytearray(body)
    rows[:4] = b"\0\0\xc0\x7f"
    path.write_bytes(head + mark + bytes(rows))
    found = inspect_splats(read_splat_file(path, drop_invalid=True), path)
    assert found.facts["Gaussians"] == "199, and 1 that cannot be used"
    assert found.problems[0].startswith("1 Gaussians hold numbers that are NaN or infinite")
