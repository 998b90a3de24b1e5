"""The still life: rays against what surfaces say, light that is known, and a capture that fits its pixels."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from splatlearn.captures import Photographs, load_capture
from splatlearn.captures.still_life.arrangement import arrange
from splatlearn.captures.still_life.light import illuminate
from splatlearn.captures.still_life.surfaces import Ball, Disc, Quad, Surface, Tube, box
from splatlearn.captures.still_life.tracing import Piece, Sky, Thing, is_blocked, nearest, pieces_of, seen
from splatlearn.captures.still_life.write import still_life_files, write_still_life
from splatlearn.core.errors import InputError

SURFACES: dict[str, Surface] = {
    "quad": Quad((0.2, -0.1, 0.3), (0.6, 0.2, 0.0), (-0.1, 0.3, 0.5)),
    "disc": Disc((0.1, 0.2, 0.3), 0.7),
    "cone": Tube((0.1, -0.2, 0.1), 0.8, 0.5, 0.1),
    "cylinder": Tube((0.1, -0.2, 0.1), 0.8, 0.4, 0.4),
    "ball": Ball((0.2, 0.1, -0.1), 0.6),
}
NONE, WHITE = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
BLACK_SKY = Sky(zenith=NONE, horizon=NONE, below=NONE, spread=1e-4)
EVEN_SKY = Sky(zenith=WHITE, horizon=WHITE, below=WHITE, sun=NONE)


def rays(count: int, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Rays from around towards the middle of the scene, in float64."""
    origins = torch.nn.functional.normalize(torch.randn(3, count, generator=generator).double(), dim=0) * 3
    aims = 0.8 * torch.randn(3, count, generator=generator).double()
    return origins, torch.nn.functional.normalize(aims - origins, dim=0)


def random_places(count: int, generator: torch.Generator) -> torch.Tensor:
    return 0.02 + 0.96 * torch.rand(2, count, generator=generator).double()


@pytest.mark.parametrize("name", SURFACES)
def test_a_ray_meets_a_surface_where_the_surface_says(name: str, generator: torch.Generator) -> None:
    surface = SURFACES[name]
    origins, directions = rays(4000, generator)
    distance, at = surface.hit(origins, directions)
    hit = distance.isfinite()
    assert 100 < int(hit.sum()) < 4000
    points, normals = surface.place(at[:, hit])
    assert torch.allclose(points, (origins + distance * directions)[:, hit], atol=1e-9)
    assert torch.allclose(normals.norm(dim=0), torch.ones(len(points[0])).double())
    # The ball around it holds it, so that nothing is missed.
    middle, radius = surface.bound
    assert float((points - points.new_tensor(middle)[:, None]).norm(dim=0).max()) <= radius + 1e-9


@pytest.mark.parametrize("name", SURFACES)
def test_a_ray_that_is_aimed_at_a_surface_does_not_miss(name: str, generator: torch.Generator) -> None:
    surface = SURFACES[name]
    places = random_places(500, generator)
    if name == "disc":
        places = 0.5 + 0.3 * (places - 0.5)
    points, normals = surface.place(places)
    distance, at = surface.hit(points + 2.0 * normals, -normals)
    assert torch.allclose(distance, torch.full_like(distance, 2.0), atol=1e-9)
    assert torch.allclose(at, places, atol=1e-7)


@pytest.mark.parametrize("name", SURFACES)
def test_normals_stand_on_surfaces(name: str, generator: torch.Generator) -> None:
    surface, step = SURFACES[name], 1e-6
    places = random_places(200, generator)
    points, normals = surface.place(places)
    for direction in torch.eye(2).double():
        tangent = (surface.place(places + step * direction[:, None])[0] - points) / step
        assert float((tangent * normals).sum(dim=0).abs().max()) < 1e-4


def test_a_box_is_closed_and_its_normals_point_outwards(generator: torch.Generator) -> None:
    faces = box((0.3, -0.2, 0.4), 0.8, 0.7)
    outward = torch.nn.functional.normalize(torch.randn(3, 2000, generator=generator).double(), dim=0)
    middle = torch.tensor([[0.3], [-0.2], [0.4]]).double().expand(3, 2000)
    met = torch.stack([face.hit(middle, outward)[0] for face in faces])
    assert bool((met.isfinite().sum(dim=0) == 1).all())
    for face in faces:
        point, normal = face.place(torch.tensor([[0.5], [0.5]]).double())
        assert torch.allclose(point + 0 * normal - middle[:, :1], 0.4 * normal, atol=1e-6)


def test_the_nearest_piece_is_the_nearest_of_all(generator: torch.Generator) -> None:
    things = arrange()
    origins, directions = (each.float() for each in rays(3000, generator))
    met = nearest(things, origins, directions)
    every = torch.stack([piece.surface.hit(origins, directions)[0] for piece in pieces_of(things)])
    expected, number = every.min(dim=0)
    assert torch.equal(met.distance, expected)
    hit = expected.isfinite()
    assert torch.equal(met.piece >= 0, hit) and torch.equal(is_blocked(things, origins, directions), hit)
    # Two pieces may be met at one distance: at an edge.
    assert float((met.piece[hit] == number[hit]).float().mean()) > 0.99
    one = directions[:, :1]
    assert torch.equal(nearest(things, origins, one).distance, nearest(things, origins, one.expand(3, 3000)).distance)


def lit(surfaces: list[Surface], sky: Sky, albedo: float = 0.5) -> list[Piece]:
    things = [Thing([Piece(surface, torch.full((3, 16, 16), albedo))]) for surface in surfaces]
    illuminate(things, sky)
    return pieces_of(things)


@pytest.mark.parametrize("surface", [Disc((0, 0, 0), 1.0), Ball((0, 0, 0), 1.0), Quad((0, 0, 0), (1, 0, 0), (0, 0, 1))])
def test_under_an_even_sky_a_lone_surface_shows_its_albedo(surface: Surface) -> None:
    (piece,) = lit([surface], EVEN_SKY)
    assert torch.allclose(piece.radiance, piece.albedo, rtol=1e-4)


def test_the_sun_falls_by_the_cosine_and_throws_shadows() -> None:
    sky = replace(BLACK_SKY, sun=(2.0, 1.0, 0.5), toward=(0.6, 0.0, 0.8))
    (piece,) = lit([Disc((0, 0, 0), 1.0)], sky)
    assert torch.allclose(piece.radiance[:, 8, 8], 0.5 * 0.8 * torch.tensor(sky.sun), rtol=1e-3)
    # A disc above throws its shadow to the side that the sun does not come from.
    floor, _ = lit([Disc((0, 0, 0), 1.0), Disc((0, 0, 0.4), 0.25)], sky)
    shadow = round(16 * (1 - 0.3) / 2)
    # What remains is the light that the disc above throws down.
    assert float(floor.radiance[:, 8, shadow].max()) < 0.12 and float(floor.radiance[0, 8, 14]) > 0.75


def test_light_is_thrown_from_one_surface_onto_another() -> None:
    sky = replace(BLACK_SKY, toward=(0.0, 0.3, 1.0))
    wall = Quad((0.0, -0.5, 1.0), (0.0, 1.0, 0.0), (0.0, 0.0, -1.0))
    floor, alone = Disc((0.6, 0, 0), 0.5), lit([wall], sky)[0]
    assert float(alone.radiance.max()) < 1e-4
    _, beside = lit([floor, wall], sky)
    assert float(beside.radiance[:, 14].mean()) > 1.5 * float(beside.radiance[:, 1].mean()) > 0


def test_a_glossy_ball_reflects_the_sky_more_at_its_edge() -> None:
    ball = Piece(Ball((0.0, 0.0, 0.0), 1.0), torch.zeros(3, 8, 8), glossy=True)
    across = torch.tensor([0.0, 0.5, 0.8, 0.95])
    origins = torch.stack([torch.full((4,), -3.0), across, torch.zeros(4)])
    directions = torch.tensor([[1.0], [0.0], [0.0]]).expand(3, 4)
    light, met = seen([Thing([ball])], EVEN_SKY, origins, directions)
    cosine = (1 - across**2).sqrt()
    expected = 0.04 + 0.96 * (1 - cosine) ** 5
    assert torch.allclose(light[0], expected, rtol=1e-3) and bool((met.piece == 0).all())


def test_the_capture_is_what_its_photographs_show(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    write_still_life(tmp_path, 9, (96, 72), lambda done, count: told.append((done, count)))
    assert told == [(each, 9) for each in range(1, 10)]
    found = {file.relative_to(tmp_path).as_posix() for file in tmp_path.rglob("*") if file.is_file()}
    assert found == set(still_life_files(9))
    capture = load_capture(tmp_path)
    assert not capture.problems and len(capture.held_out) == 2 and len(capture.points) >= 4000
    # Points are in order of the photographs that show them: each is seen there, in its colour.
    each = len(capture.points) // 9
    with Photographs(capture.views, None) as photographs:
        for number in range(9):
            photo = photographs[number]
            part = slice(number * each, (number + 1) * each)
            view = photo.camera.viewmats.double().numpy()
            x, y, z = view[:3, :3] @ capture.points.xyz[part].T + view[:3, 3:]
            columns = np.floor(float(photo.camera.fx) * x / z + float(photo.camera.cx)).astype(int)
            rows = np.floor(float(photo.camera.fy) * y / z + float(photo.camera.cy)).astype(int)
            assert bool((z > 0).all()) and 0 <= rows.min() <= rows.max() < 72
            assert 0 <= columns.min() <= columns.max() < 96
            pixels = photo.pixels.numpy()[rows, columns].astype(float)
            is_inside = pixels[:, 3] == 255
            colors = capture.points.rgb[part][is_inside].astype(float)
            assert is_inside.mean() > 0.85
            assert 3 * np.median(np.abs(pixels[is_inside, :3] - colors)) < np.median(
                np.abs(pixels - pixels[::-1])[:, :3]
            )


@pytest.mark.large
def test_it_is_the_same_on_any_number_of_threads(tmp_path: Path) -> None:
    threads = torch.get_num_threads()
    try:
        for count in (1, 3):
            torch.set_num_threads(count)
            write_still_life(tmp_path / str(count), 2, (32, 24))
            assert torch.get_num_threads() == count
    finally:
        torch.set_num_threads(threads)
    for name in still_life_files(2):
        assert (tmp_path / "1" / name).read_bytes() == (tmp_path / "3" / name).read_bytes()


def test_sizes_that_cannot_be_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="views: "):
        write_still_life(tmp_path, 1, (32, 24))
    with pytest.raises(InputError, match="size: "):
        write_still_life(tmp_path, 2, (32, 0))
    assert not list(tmp_path.iterdir())
