"""Adam over Gaussians: its steps against PyTorch's, its choice of rows, and its errors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from compiled_code import away, needs
from fitting.optimizers.adams import RATES, copies, parameters, set_gradients, snapshot
from splatlearn.core.errors import InputError
from splatlearn.fitting import GaussianAdam, compiled
from splatlearn.fitting.optimizers.adam_step import seen_rows


def fifty_steps(
    start: dict[str, Tensor], generator: torch.Generator, eps: float
) -> tuple[GaussianAdam, dict[str, Tensor]]:
    """After fifty steps along the same gradients: ours, and the parameters of PyTorch's Adam in float64."""
    ours = GaussianAdam(copies(start), RATES, eps=eps)
    exact = {name: each.double().requires_grad_() for name, each in copies(start).items()}
    theirs = torch.optim.Adam([{"params": [each], "lr": RATES[name]} for name, each in exact.items()], eps=eps)
    for step in range(50):
        # Sizes of a hundred millionth and below, as a pixel's share of a loss has.
        set_gradients(ours, generator, 10.0 ** -(step % 9))
        for name, each in ours.parameters.items():
            assert each.grad is not None
            exact[name].grad = each.grad.double()
        ours.step()
        theirs.step()
    return ours, exact


class TestStep:
    @pytest.mark.parametrize("count", [1, 7, 37, 3000])
    def test_every_instruction_set_is_adam(self, count: int, instruction_set: str, generator: torch.Generator) -> None:
        start = parameters(generator, count)
        ours, exact = fifty_steps(start, generator, 1e-15)
        for name, each in ours.parameters.items():
            moved = (each.double() - start[name]).detach(), (exact[name] - start[name]).detach()
            # A parameter of size 1 is rounded in each of fifty steps of 1e-4 and more.
            assert away(*moved) <= 1e-3, name
            torch.testing.assert_close(each.detach().double(), exact[name].detach(), rtol=3e-6, atol=3e-6)

    @pytest.mark.parametrize("eps", [1e-15, 1e-8, 1e-2])
    def test_in_float64(self, eps: float, generator: torch.Generator) -> None:
        ours, exact = fifty_steps(parameters(generator, dtype=torch.float64), generator, eps)
        for name, each in ours.parameters.items():
            torch.testing.assert_close(each, exact[name], rtol=1e-12, atol=1e-12)

    def test_without_the_extension(self, way: str, generator: torch.Generator) -> None:
        ours, exact = fifty_steps(parameters(generator), generator, 1e-8)
        for name, each in ours.parameters.items():
            torch.testing.assert_close(each.detach().double(), exact[name].detach(), rtol=3e-6, atol=3e-6)

    def test_each_number_of_a_row_may_have_its_own_rate(self, way: str, generator: torch.Generator) -> None:
        start = torch.randn(9, 4, 3, generator=generator)
        rate = torch.tensor([1e-1, 1e-2, 1e-3, 0.0]).unsqueeze(1)
        adam = GaussianAdam({"sh": start.clone()}, {"sh": rate})
        adam.parameters["sh"].grad = torch.ones(9, 4, 3)
        adam.step()
        moved = start - adam.parameters["sh"].detach()
        torch.testing.assert_close(moved, rate.expand(4, 3).expand(9, 4, 3), rtol=1e-5, atol=3e-7)

    def test_a_parameter_without_gradient_stays_and_counts_no_step(self, way: str, generator: torch.Generator) -> None:
        start = parameters(generator)
        adam = GaussianAdam(copies(start), RATES)
        set_gradients(adam, generator)
        adam.parameters["sh"].grad = None
        adam.step()
        assert torch.equal(adam.parameters["sh"], start["sh"]) and not torch.equal(
            adam.parameters["means"], start["means"]
        )
        state = adam.state_dict()
        assert int(state["sh.step"]) == 0 and int(state["means.step"]) == 1
        adam.zero_grad()
        assert all(each.grad is None for each in adam.parameters.values())

    def test_strided_gradients_and_parameters(self, way: str, generator: torch.Generator) -> None:
        start, gradient = torch.randn(5, 6, generator=generator), torch.randn(6, 5, generator=generator).mT
        found = []
        for value in (start.clone(), start.mT.contiguous().mT):
            adam = GaussianAdam({"means": value}, {"means": 0.1})
            adam.parameters["means"].grad = gradient
            adam.step()
            found.append(adam.parameters["means"].detach())
        torch.testing.assert_close(found[0], found[1], rtol=1e-6, atol=1e-6)
        torch.testing.assert_close(found[0], start - 0.1 * gradient.sign(), rtol=1e-5, atol=1e-6)

    def test_autograd_sees_that_parameters_have_changed(self, way: str) -> None:
        adam = GaussianAdam({"means": torch.ones(3, 3)}, {"means": 0.1})
        kept = adam.parameters["means"].square().sum()
        adam.parameters["means"].grad = torch.ones(3, 3)
        adam.step()
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            kept.backward()

    def test_nan_stays_visible(self, way: str) -> None:
        adam = GaussianAdam({"means": torch.zeros(4, 3)}, {"means": 0.1}, selective=True)
        adam.parameters["means"].grad = torch.zeros(4, 3).index_fill(0, torch.tensor([2]), float("nan"))
        adam.step()
        assert adam.parameters["means"].isnan().any(dim=1).tolist() == [False, False, True, False]

    def test_no_gaussians(self, way: str) -> None:
        adam = GaussianAdam({"means": torch.zeros(0, 3), "sh": torch.zeros(0, 0, 3)}, {"means": 0.1, "sh": 0.1})
        for each in adam.parameters.values():
            each.grad = torch.zeros_like(each)
        adam.step()
        adam.append(2)
        assert adam.count == 2


@needs(compiled.native)
class TestCompiled:
    @pytest.mark.parametrize("selective", [False, True])
    def test_bits_are_the_same_for_any_number_of_threads(
        self, selective: bool, instruction_set: str, generator: torch.Generator, threads: Callable[[int], None]
    ) -> None:
        # More rows than a thread takes at a time, of each width.
        start, gradients = parameters(generator, 40_000), parameters(generator, 40_000)
        keep = torch.rand(40_000, generator=generator) < 0.5
        found = []
        for count in (1, 2, 3):
            threads(count)
            adam = GaussianAdam(copies(start), RATES, selective=selective)
            for _ in range(2):
                for name, each in adam.parameters.items():
                    each.grad = gradients[name] * keep.view(-1, *[1] * (each.ndim - 1))
                adam.step()
            found.append(snapshot(adam))
        for other in found[1:]:
            assert all(torch.equal(other[name], each) for name, each in found[0].items())

    @pytest.mark.parametrize("count", [1, 2])
    def test_moments_of_what_is_not_seen_decay_to_zero_in_every_thread(
        self, count: int, instruction_set: str, threads: Callable[[int], None]
    ) -> None:
        """In denormals they would end neither at 0 nor soon; other numbers of a thread keep theirs afterwards."""
        threads(count)
        tiny = torch.finfo(torch.float32).tiny
        adam = GaussianAdam({"means": torch.ones(50_000, 3)}, {"means": 1e-3}, betas=(0.5, 0.5))
        adam.parameters["means"].grad = torch.full((50_000, 3), 1e-18)
        adam.step()
        state = adam.state_dict()
        assert 0 < state["means.exp_avg_sq"].max() < 1e-36
        adam.parameters["means"].grad = torch.zeros(50_000, 3)
        for _ in range(70):
            adam.step()
            moments = torch.stack([state["means.exp_avg"], state["means.exp_avg_sq"]])
            assert not bool(((moments > 0) & (moments < tiny)).any())
        assert not state["means.exp_avg"].any() and not state["means.exp_avg_sq"].any()
        # The mode of the threads is what it was.
        assert bool((torch.full((200_000,), tiny) * 0.5 > 0).all())

    def test_denormals_that_come_in_are_zero(self, instruction_set: str) -> None:
        denormal = torch.full((20, 3), 1e-40)
        adam = GaussianAdam({"means": torch.ones(20, 3)}, {"means": 1e-3}, eps=1e-8)
        adam.load_state_dict({"means.step": torch.tensor(3), "means.exp_avg": denormal, "means.exp_avg_sq": denormal})
        adam.parameters["means"].grad = denormal
        adam.step()
        assert torch.equal(adam.parameters["means"], torch.ones(20, 3))
        assert not any(adam.state_dict()[f"means.{kind}"].any() for kind in ("exp_avg", "exp_avg_sq"))


class TestSelective:
    @pytest.mark.parametrize("share", [0.0, 0.03, 0.5, 0.97, 1.0])
    def test_rows_without_gradient_stay_and_the_others_move_as_if_alone(
        self, share: float, way: str, generator: torch.Generator
    ) -> None:
        start = parameters(generator, 500)
        keep = torch.rand(500, generator=generator) < share
        whole, alone = GaussianAdam(copies(start), RATES), GaussianAdam(copies(start), RATES, selective=True)
        masked = GaussianAdam(copies(start), RATES)
        for _ in range(3):
            set_gradients(whole, generator)
            for adam in (alone, masked):
                for name, each in adam.parameters.items():
                    gradient = whole.parameters[name].grad
                    assert gradient is not None
                    each.grad = gradient.clone()
            for each in alone.parameters.values():
                assert each.grad is not None
                each.grad[~keep] = 0.0
            whole.step()
            alone.step()
            masked.step(visible=keep)
        wanted, before = snapshot(whole), {**start, **copies(GaussianAdam(copies(start), RATES).state_dict())}
        for name, found in snapshot(alone).items():
            if not name.endswith("step"):
                torch.testing.assert_close(found[keep], wanted[name][keep], rtol=1e-6, atol=1e-9)
                assert torch.equal(found[~keep], before[name][~keep]), name
        assert all(torch.equal(found, snapshot(alone)[name]) for name, found in snapshot(masked).items())

    def test_a_gaussian_is_seen_if_any_of_its_tensors_is(self, way: str) -> None:
        adam = GaussianAdam({"means": torch.ones(3, 3), "opacities": torch.ones(3)}, {"means": 0.1, "opacities": 0.1})
        adam.selective = True
        for each in adam.parameters.values():
            each.grad = torch.ones_like(each)
        adam.step()
        adam.parameters["means"].grad = torch.zeros(3, 3)
        adam.parameters["opacities"].grad = torch.tensor([0.0, -0.0, 1e-42])
        before = adam.state_dict()["means.exp_avg"].clone()
        adam.step()
        # The last one's momentum moves its mean on.
        assert (adam.state_dict()["means.exp_avg"] != before).any(dim=1).tolist() == [False, False, True]

    @pytest.mark.parametrize("width", [1, 2, 5, 16, 33])
    def test_which_rows_are_seen(self, width: int, way: str, generator: torch.Generator) -> None:
        gradients = torch.zeros(5000, width)
        wanted = torch.rand(5000, generator=generator) < 0.3
        columns = torch.randint(0, width, (5000,), generator=generator)
        gradients[wanted, columns[wanted]] = -1e-30
        assert torch.equal(seen_rows([gradients], 5000, gradients.device), wanted)
        assert torch.equal(seen_rows([gradients * 0, gradients.double()], 5000, gradients.device), wanted)


def test_coefficients_that_are_added_are_those_that_had_no_gradient(generator: torch.Generator) -> None:
    first = torch.randn(9, 4, 3, generator=generator)
    names = {"means": 1e-3, "sh": 1e-2}
    grown = GaussianAdam({"means": torch.zeros(9, 3), "sh": first[:, :1].clone()}, names)
    whole = GaussianAdam({"means": torch.zeros(9, 3), "sh": first * torch.eye(4)[0, :, None]}, names)
    for step in range(6):
        if step == 3:
            grown.widen("sh", 4)
            assert grown.parameters["sh"].is_leaf and grown.parameters["sh"].requires_grad
        gradients = torch.randn(9, 4, 3, generator=generator)
        gradients[:, grown.parameters["sh"].shape[1] :] = 0.0
        for adam in (grown, whole):
            adam.parameters["means"].grad = torch.ones(9, 3)
            adam.parameters["sh"].grad = gradients[:, : adam.parameters["sh"].shape[1]].clone()
            adam.step()
    ours, theirs = snapshot(grown), snapshot(whole)
    assert ours.keys() == theirs.keys() and all(torch.equal(each, theirs[name]) for name, each in ours.items())


def made(**change: Any) -> GaussianAdam:
    return GaussianAdam(**{"parameters": {"means": torch.zeros(4, 3)}, "rates": {"means": 0.1}, **change})


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: made(rates={"mean": 0.1}), InputError, "rates: expected one for each of means, got mean"),
        (lambda: made(parameters={}, rates={}), InputError, "rates: expected one for each of none, got none"),
        (lambda: made(betas=(0.9, 1.0)), InputError, r"betas\[1\]: expected a finite number"),
        (lambda: made().widen("sh", 4), InputError, "name: expected one of means, got 'sh'"),
        (lambda: made().widen("means", 2), InputError, r"columns: expected at least those of means \[4, 3\], got 2"),
        (lambda: made(eps=-1.0), InputError, "eps: expected a finite number of at least 0, got -1.0"),
        (lambda: made(parameters={"means": torch.zeros(4, 3).int()}), TypeError, "means: expected a floating-point"),
        (
            lambda: made(
                parameters={"means": torch.zeros(4, 3), "sh": torch.zeros(5, 1, 3)}, rates={"means": 0.1, "sh": 0.1}
            ),
            InputError,
            r"sh: expected leaves of the autograd graph with one leading axis K, got means \[4, 3\], sh \[5, 1, 3\]",
        ),
        (
            lambda: made(parameters={"means": torch.zeros(4, 3, requires_grad=True) + 1}),
            InputError,
            "means: expected leaves of the autograd graph",
        ),
        (lambda: made().step(visible=torch.ones(3).bool()), InputError, r"visible: expected shape \[4\], got \[3\]"),
        (lambda: made().step(visible=torch.ones(4)), InputError, "visible: expected torch.bool, got torch.float32"),
        (lambda: made().gather(torch.tensor([4])), InputError, "index: expected rows from 0 to 3, got 4 to 4"),
        (lambda: made().gather(torch.tensor([-1])), InputError, "index: expected rows from 0 to 3, got -1 to -1"),
        (lambda: made().gather(torch.tensor([0.0])), InputError, "index: expected torch.int64, got torch.float32"),
        (lambda: made().append({"sh": torch.zeros(1, 3)}), InputError, "rows: expected tensors for means, got sh"),
        (
            lambda: made().append({"means": torch.zeros(1, 4)}),
            InputError,
            r"means: expected shape \[1, 3\], got \[1, 4\]",
        ),
        (lambda: made().append(-1), InputError, "rows: expected a whole number of at least 0, got -1"),
        (lambda: made().reset(names=["sh"]), InputError, "names: expected some of means, got 'sh'"),
    ],
)
def test_errors(call: Callable[[], None], error: type[Exception], message: str, no_shape_checks: None) -> None:
    with pytest.raises(error, match=message):
        call()


@pytest.mark.parametrize(
    ("rate", "message"),
    [(-1.0, "finite number of at least 0, got -1.0"), (torch.ones(2), r"fits rows \[3\], got \[2\]")],
)
def test_rates_are_checked_at_each_step(rate: float | Tensor, message: str) -> None:
    adam = made()
    adam.parameters["means"].grad = torch.ones(4, 3)
    adam.rates["means"] = rate
    with pytest.raises(InputError, match=rf"rates\['means'\]: expected .*{message}"):
        adam.step()
