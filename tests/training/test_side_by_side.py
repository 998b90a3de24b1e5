import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import splatlearn.training.pretraining.loop as loop
from splatlearn.training import MutualInformationOptions, Recipe, pretrain
from splatlearn.training.pretraining.side_by_side import LEAST_PATCHES, MOST_BYTES, SideBySide, parts_worth_it
from training.small_run import losses, pictures, small_recipe

pytestmark = pytest.mark.usefixtures("small_encoder")


@pytest.fixture
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def counted(two_threads: None, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Small batches are worth cutting; how many parts each was cut into."""
    seen: list[int] = []

    class Counted(SideBySide):
        def __call__(self, passes, parameters):
            seen.append(len(passes))
            return super().__call__(passes, parameters)

    monkeypatch.setattr("splatlearn.training.pretraining.side_by_side.LEAST_PATCHES", 16)
    monkeypatch.setattr(loop, "SideBySide", Counted)
    return seen


def assert_same(one: Path, other: Path) -> None:
    """The same losses and gradients to rounding, until AdamW makes as much of rounding as of gradients."""
    assert losses(one) == pytest.approx(losses(other), rel=2e-3)
    lines = [[json.loads(line) for line in (each / "log.jsonl").read_text().splitlines()[:3]] for each in (one, other)]
    # The first step has a rate of 0, so that two of them meet the same weights.
    for found, expected in list(zip(*lines, strict=True))[:2]:
        assert found.keys() == expected.keys()
        for name in found:
            assert found[name] == pytest.approx(expected[name], rel=1e-5)


def gentle(recipe: Recipe) -> Recipe:
    """With small steps: AdamW's are as long for what rounding makes of gradients near 0 as for others."""
    return dataclasses.replace(recipe, optimizer=dataclasses.replace(recipe.optimizer, base_learning_rate=1e-3))


def in_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("splatlearn.training.pretraining.side_by_side.LEAST_PATCHES", 10**9)


@pytest.mark.parametrize("method", ["gmae", "mae", "four masks"])
def test_a_run_in_parts_learns_what_a_whole_one_does(
    tmp_path: Path, method: str, counted: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    def recipe(name: str) -> Recipe:
        if method != "four masks":
            return gentle(small_recipe(tmp_path / name, method))
        # No terms between or within the masks.
        mutual = MutualInformationOptions(masks=4, maximize_weight=0.0, minimize_weight=0.0)
        made = dataclasses.replace(gentle(small_recipe(tmp_path / name, "gmae")), method="mi-gmae", mutual=mutual)
        return dataclasses.replace(made, objective=dataclasses.replace(made.objective, mask_ratio=0.75))

    pretrain(recipe("parts"), pictures())
    pretrain(recipe("again"), pictures())
    assert counted == [2] * 18
    in_one(monkeypatch)
    pretrain(recipe("whole"), pictures())
    assert counted == [2] * 18
    assert losses(tmp_path / "parts") == losses(tmp_path / "again")
    curve = list(losses(tmp_path / "parts").values())
    assert len(curve) == 9 and sum(curve[6:]) < sum(curve[:3])
    assert_same(tmp_path / "parts", tmp_path / "whole")


def test_passes_of_a_step_add_up(tmp_path: Path, counted: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    def recipe(name: str, batch: int, accumulate: int) -> Recipe:
        made = gentle(small_recipe(tmp_path / name))
        changed = dataclasses.replace(made.optimizer, batch_size=batch, accumulate=accumulate)
        return dataclasses.replace(made, optimizer=changed)

    pretrain(recipe("two passes", 4, 2), pictures())
    assert counted == [2] * 18
    in_one(monkeypatch)
    pretrain(recipe("one", 8, 1), pictures())
    assert_same(tmp_path / "two passes", tmp_path / "one")


def test_bfloat16_in_parts(tmp_path: Path, counted: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    def recipe(name: str) -> Recipe:
        made = gentle(small_recipe(tmp_path / name))
        return dataclasses.replace(made, run=dataclasses.replace(made.run, precision="bf16"))

    pretrain(recipe("parts"), pictures())
    pretrain(recipe("again"), pictures())
    assert counted == [2] * 18
    in_one(monkeypatch)
    pretrain(recipe("whole"), pictures())
    assert losses(tmp_path / "parts") == losses(tmp_path / "again")
    assert losses(tmp_path / "parts") == pytest.approx(losses(tmp_path / "whole"), rel=2e-2)


def test_terms_that_compare_images_get_all_of_them(tmp_path: Path, counted: list[int]) -> None:
    made = dataclasses.replace(small_recipe(tmp_path), method="mi-gmae")
    objective = dataclasses.replace(made.objective, mask_ratio=0.75)
    pretrain(dataclasses.replace(made, objective=objective, mutual=MutualInformationOptions(masks=4)), pictures())
    assert counted == []


def test_one_bad_part_skips_the_step(tmp_path: Path, counted: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    bad = loop.finite_or_nan
    calls: list[int] = []

    def once_infinite(loss: Tensor) -> Tensor:
        calls.append(1)
        return bad(loss * torch.inf if len(calls) == 6 else loss)

    monkeypatch.setattr(loop, "finite_or_nan", once_infinite)
    result = pretrain(small_recipe(tmp_path), pictures())
    assert result.steps == 9 and counted == [2] * 9
    # The loss itself was finite; what was added to the gradient was not.
    assert [path.name for path in (tmp_path / "nonfinite").iterdir()] == ["step-00000003"]


def test_gradients_are_added_in_order_and_to_what_is_there(two_threads: None) -> None:
    generator = torch.Generator().manual_seed(0)
    used, unused = (nn.Parameter(torch.randn(50, generator=generator)) for _ in range(2))
    inputs = [torch.randn(50, generator=generator) for _ in range(4)]
    side_by_side = SideBySide()
    seen: list[int] = []

    def forward(index: int) -> tuple[Tensor, int]:
        seen.append(torch.get_num_threads())
        return (used.sin() * inputs[index]).sum(), index

    used.grad = torch.ones(50)
    assert side_by_side([lambda i=i: forward(i) for i in range(2)], [used, unused]) == [0, 1]
    expected = torch.ones(50)
    for each in inputs[:2]:
        expected += each * used.detach().cos()
    assert torch.equal(used.grad, expected) and unused.grad is None
    assert seen == [1, 1] and torch.get_num_threads() == 2
    # More passes than threads take turns.
    assert side_by_side([lambda i=i: forward(i) for i in range(4)], [used]) == [0, 1, 2, 3]
    side_by_side.close()


def test_a_pass_that_fails_says_so_and_leaves_the_threads_as_they_were(two_threads: None) -> None:
    side_by_side, weight = SideBySide(), nn.Parameter(torch.ones(3))

    def broken() -> tuple[Tensor, None]:
        raise ValueError("no such thing")

    with pytest.raises(ValueError, match="no such thing"):
        side_by_side([lambda: (weight.sum(), None), broken], [weight])
    assert torch.get_num_threads() == 2 and weight.grad is None
    side_by_side.close()


def test_only_large_batches_are_cut_and_only_evenly(two_threads: None) -> None:
    small, large = nn.Parameter(torch.ones(4)), nn.Parameter(torch.empty(MOST_BYTES // 8 + 1, device="meta"))
    enough = 2 * LEAST_PATCHES // 64
    assert parts_worth_it(enough, 64, [small]) == 2
    assert parts_worth_it(enough - 2, 64, [small]) == parts_worth_it(enough + 1, 64, [small]) == 1
    assert parts_worth_it(enough, 64, [large]) == 1
    torch.set_num_threads(6)
    assert [parts_worth_it(images, LEAST_PATCHES, [small]) for images in (2, 3, 4, 5, 6, 12)] == [2, 3, 2, 1, 6, 6]
    torch.set_num_threads(1)
    assert parts_worth_it(10**6, 64, [small]) == 1
