"""Adam over Gaussians: edits of its rows, and its state."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from fitting.optimizers.adams import RATES, SHAPES, copies, parameters, set_gradients, snapshot
from splatlearn.core.errors import FormatError
from splatlearn.fitting import GaussianAdam


class TestEdits:
    def stepped(self, generator: torch.Generator, count: int = 8) -> GaussianAdam:
        adam = GaussianAdam(parameters(generator, count), RATES)
        set_gradients(adam, generator)
        adam.step()
        return adam

    def test_gather_moves_moments_along(self, generator: torch.Generator) -> None:
        adam = self.stepped(generator)
        before, index = snapshot(adam), torch.tensor([5, 0, 0, 7])
        adam.gather(index, fresh=torch.tensor([False, False, True, False]))
        assert adam.count == 4
        for name, found in snapshot(adam).items():
            if name.endswith("step"):
                assert torch.equal(found, before[name])
                continue
            wanted = before[name][index].clone()
            if "exp_avg" in name:
                wanted[2] = 0.0
            assert torch.equal(found, wanted), name
        for each in adam.parameters.values():
            assert each.is_leaf and each.requires_grad and each.grad is None

    def test_a_mask_selects(self, generator: torch.Generator) -> None:
        adam = self.stepped(generator)
        before, keep = snapshot(adam), torch.rand(8, generator=generator) < 0.5
        adam.gather(keep)
        for name, found in snapshot(adam).items():
            assert torch.equal(found, before[name] if name.endswith("step") else before[name][keep])

    def test_appended_rows_start_with_moments_of_zero(self, generator: torch.Generator) -> None:
        adam = self.stepped(generator)
        before, more = snapshot(adam), parameters(generator, 3)
        adam.append(more)
        adam.append(2)
        for name, found in snapshot(adam).items():
            if name.endswith("step"):
                continue
            assert torch.equal(found[:8], before[name])
            assert torch.equal(found[8:11], more[name] if name in more else torch.zeros_like(found[8:11]))
            assert not found[11:].any() and len(found) == 13

    def test_edits_commute_with_steps(self, way: str, generator: torch.Generator) -> None:
        """A permutation before a step is the same permutation after it, to the last bit."""
        order = torch.randperm(500, generator=generator)
        one, other = (self.stepped(torch.Generator().manual_seed(1), 500) for _ in range(2))
        gradients = parameters(generator, 500)
        one.gather(order)
        for name, each in one.parameters.items():
            each.grad = gradients[name][order]
        one.step()
        for name, each in other.parameters.items():
            each.grad = gradients[name]
        other.step()
        other.gather(order)
        assert all(torch.equal(found, snapshot(other)[name]) for name, found in snapshot(one).items())

    def test_reset(self, generator: torch.Generator) -> None:
        adam = self.stepped(generator)
        before = snapshot(adam)
        adam.reset(names=["opacities"])
        adam.reset(torch.tensor([3]))
        for name, found in snapshot(adam).items():
            if "exp_avg" not in name:
                assert torch.equal(found, before[name])
            elif name.startswith("opacities"):
                assert not found.any()
            else:
                assert not found[3].any() and torch.equal(found[:3], before[name][:3]) and found[4:].any()


class TestState:
    def test_a_run_goes_on_with_the_same_bits(self, way: str, generator: torch.Generator) -> None:
        first = GaussianAdam(parameters(generator, 50), RATES)
        gradients = [parameters(generator, 50) for _ in range(6)]

        def go(adam: GaussianAdam, steps: range) -> None:
            for step in steps:
                for name, each in adam.parameters.items():
                    each.grad = gradients[step][name]
                adam.step()

        go(first, range(3))
        state = copies(first.state_dict())
        again = GaussianAdam(copies(first.parameters), RATES)
        again.load_state_dict(state)
        go(first, range(3, 6))
        go(again, range(3, 6))
        assert all(torch.equal(found, snapshot(first)[name]) for name, found in snapshot(again).items())
        assert not torch.equal(state["means.exp_avg"], again.state_dict()["means.exp_avg"]), "the state was copied"

    def test_every_entry_is_a_named_tensor(self, generator: torch.Generator) -> None:
        state = GaussianAdam(parameters(generator), RATES).state_dict()
        kinds = ("step", "exp_avg", "exp_avg_sq")
        assert set(state) == {f"{name}.{kind}" for name in SHAPES for kind in kinds}
        assert all(isinstance(each, Tensor) for each in state.values())

    def test_a_state_that_does_not_fit(self, generator: torch.Generator) -> None:
        adam = GaussianAdam(parameters(generator), RATES)
        state = adam.state_dict()
        with pytest.raises(FormatError, match=r"state: expected the tensors .*, got means.step"):
            adam.load_state_dict({"means.step": state["means.step"]})
        adam.gather(torch.arange(5))
        with pytest.raises(FormatError, match=r"expected means.exp_avg of shape \[5, 3\], got \[37, 3\]"):
            adam.load_state_dict(state)
