"""Tracing, which cannot see through run-time shape checks, in a process of its own: prints "ok" when it has passed."""

import torch

from splatlearn.fitting import photometric_loss

generator = torch.Generator().manual_seed(0)
images = torch.rand(2, 3, 20, 30, generator=generator)
targets = (255 * torch.rand(2, 20, 30, 4, generator=generator)).to(torch.uint8).permute(0, 3, 1, 2)


def gradient(loss) -> torch.Tensor:
    moved = images.clone().requires_grad_()
    (2.0 * loss(moved * 0.9, targets, "white")).backward()
    assert moved.grad is not None
    return moved.grad


traced = torch.compile(photometric_loss, backend="aot_eager", fullgraph=True)
assert torch.equal(gradient(traced), gradient(photometric_loss))
print("ok")
