"""Two processes that share a batch: losses and gradients of each are those of one process with the joint batch.

Run as a script with a file that is not there yet; each process prints "ok" when all its checks have passed.
"""

from __future__ import annotations

import os
import sys

import torch
import torch.distributed as dist
from torch import Tensor, nn

from splatlearn.objectives import create_estimator, frozen_bound, info_nce
from splatlearn.objectives.processes import average_gradients, gather_images, process_and_count

IMAGES = 5
"""Of each process."""


def data(*shape: int, dtype: torch.dtype) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0), dtype=dtype)


def check_contrast(process: int, dtype: torch.dtype, tolerance: float) -> None:
    """The mean of the processes' InfoNCE and the mean of their encoders' gradients are those of the joint batch."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        encoder = nn.Linear(6, 4).to(dtype)
    everything = data(3, 2 * IMAGES, 6, dtype=dtype)
    loss = info_nce(encoder(everything[:, process * IMAGES : (process + 1) * IMAGES]))
    gradients = torch.autograd.grad(loss, list(encoder.parameters()))
    joint = info_nce_of_one(encoder(everything))
    expected = torch.autograd.grad(joint, list(encoder.parameters()))
    for value, wanted in zip((loss.detach(), *gradients), (joint.detach(), *expected), strict=True):
        mean = value.clone()
        dist.all_reduce(mean)
        torch.testing.assert_close(mean / 2, wanted, rtol=tolerance, atol=tolerance)


def info_nce_of_one(latents: Tensor) -> Tensor:
    """InfoNCE written out, without other processes."""
    latents = latents / latents.norm(dim=-1, keepdim=True)
    masks, images, _ = latents.shape
    pairs = [(m, n) for m in range(masks) for n in range(masks) if m != n]
    losses = [nn.functional.cross_entropy(latents[m] @ latents[n].T / 0.07, torch.arange(images)) for m, n in pairs]
    return torch.stack(losses).mean()


def check_order(process: int) -> None:
    """Images are gathered in the order of the processes, and a gradient comes back to each from all."""
    mine = torch.full((2, 3, 1), float(process)).requires_grad_()
    everyone = gather_images(mine)
    assert everyone[0, :, 0].tolist() == [0.0] * 3 + [1.0] * 3
    (everyone * torch.arange(6.0).reshape(1, 6, 1) * (process + 1)).sum().backward()
    assert mine.grad is not None
    assert mine.grad[1, :, 0].tolist() == [3.0 * (3 * process + place) for place in range(3)]


def check_estimator(process: int) -> None:
    """An estimator that learns from both halves takes the step of one that learns from the joint batch."""
    inputs, latents = data(2, 2 * IMAGES, 4, dtype=torch.float64), data(2, 2 * IMAGES, 3, dtype=torch.float64)
    half = slice(process * IMAGES, (process + 1) * IMAGES)
    alone, shared = (create_estimator("club", (4, 3), 8, torch.Generator().manual_seed(1)).double() for _ in range(2))
    (-alone(inputs, latents).fit).backward()
    (-shared(inputs[:, half], latents[:, half]).fit).backward()
    average_gradients(shared)
    for one, other in zip(alone.parameters(), shared.parameters(), strict=True):
        torch.testing.assert_close(other.grad, one.grad)
    assert any(bool(parameter.grad.abs().sum() > 0) for parameter in shared.parameters() if parameter.grad is not None)


def check_bound(process: int) -> None:
    """The frozen bound is that of the joint batch, and so is the mean of the encoders' gradients."""
    inputs = data(2, 2 * IMAGES, 4, dtype=torch.float64)
    estimator = create_estimator("club", (4, 3), 8, torch.Generator().manual_seed(1)).double()
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        encoder = nn.Linear(4, 3).double()
        # Trained a little by hand: q is a narrow Gaussian near the latents, so that the gate is open.
        wide = nn.Linear(4, 3).double()
        wide.weight.copy_(encoder.weight + 0.1)
        wide.bias.copy_(encoder.bias)
    estimator.mean = wide
    half = slice(process * IMAGES, (process + 1) * IMAGES)
    shared = frozen_bound(estimator, inputs[:, half], encoder(inputs[:, half]))
    gradients = torch.autograd.grad(shared, list(encoder.parameters()))
    joint = estimator(inputs, encoder(inputs))
    assert float(joint.fit) > 0 and float(joint.bound) != 0
    expected = torch.autograd.grad(joint.bound, list(encoder.parameters()))
    torch.testing.assert_close(shared.detach(), joint.bound.detach())
    for value, wanted in zip(gradients, expected, strict=True):
        mean = value.clone()
        dist.all_reduce(mean)
        torch.testing.assert_close(mean / 2, wanted)


if __name__ == "__main__":
    # What is imported by now is imported once for both.
    other = os.fork()
    number = 0 if other else 1
    dist.init_process_group("gloo", init_method=f"file://{sys.argv[1]}", rank=number, world_size=2)
    assert process_and_count() == (number, 2)
    check_contrast(number, torch.float32, 1e-6)
    check_contrast(number, torch.float64, 1e-12)
    check_order(number)
    check_estimator(number)
    check_bound(number)
    dist.destroy_process_group()
    # In one piece, which the other process does not cut in two.
    os.write(sys.stdout.fileno(), b"ok\n")
    if other:
        sys.exit(os.waitstatus_to_exitcode(os.waitpid(other, 0)[1]))
