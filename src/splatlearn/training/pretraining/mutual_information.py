"""Pre-training with several masks of an image: the terms between and within them, and their networks."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from splatlearn.models import GMAE, MAE, MaskedOutput
from splatlearn.models.nn.initial import initialize
from splatlearn.objectives import MaximizeTerm, MinimizeTerm, Term, create_estimator
from splatlearn.objectives.estimators import two_layers
from splatlearn.objectives.processes import average_gradients
from splatlearn.runs.tensor_files import TensorFiles
from splatlearn.training.loop.guard import clip_and_arm, step_if_finite
from splatlearn.training.loop.state import optimizer_tensors, restore_optimizer, restore_weights
from splatlearn.training.pretraining.mutual_recipe import MutualInformationOptions


class MutualInformation:
    """The weighted terms of resolved options, with the projector, which learns with the model, and the estimator.

    A term of weight 0 is left out, and so is its network. `seed` fixes the networks' first weights.
    """

    def __init__(self, options: MutualInformationOptions, model: MAE | GMAE, seed: int, device: torch.device) -> None:
        assert options.masks is not None
        self.terms: dict[str, tuple[float, Term]] = {}
        self.projector: nn.Module = nn.Identity()
        self.estimator: EstimatorTraining | None = None
        encoder, generator = model.encoder.config, torch.Generator().manual_seed(seed)
        if options.maximize_weight:
            self.projector = _projector(encoder.embed_dim, options.projector, generator).to(device)
            term = MaximizeTerm(options.masks, options.temperature, options.pooling, self.projector)
            self.terms["maximize"] = (options.maximize_weight, term)
        if options.minimize_weight:
            sizes = (encoder.patch_size**2 * encoder.channels, encoder.embed_dim)
            estimator = create_estimator(options.estimator, sizes, options.estimator_width, generator).to(device)
            term = MinimizeTerm(options.masks, encoder.patch_size, options.pooling, estimator)
            self.terms["minimize"] = (options.minimize_weight, term)
            self.estimator = EstimatorTraining(term, options.estimator_steps, options.estimator_learning_rate)

    def tensors(self, optimizer: torch.optim.Optimizer | None) -> dict[str, Tensor]:
        """The state of networks and optimisers, by name; `optimizer` is the projector's, None to leave that out."""
        state = _state("projector", self.projector, optimizer)
        if self.estimator is not None:
            state |= _state("estimator", self.estimator.term.estimator, self.estimator.optimizer)
        return state

    def restore(self, files: TensorFiles, optimizer: torch.optim.Optimizer | None) -> None:
        """Restore the state that `tensors` returned; raises CheckpointError for networks of other sizes."""
        _restore("projector", self.projector, optimizer, files)
        if self.estimator is not None:
            _restore("estimator", self.estimator.term.estimator, self.estimator.optimizer, files)


class EstimatorTraining:
    """An estimator's own optimiser, which takes `steps` steps on each batch of latents; non-finite ones are skipped."""

    def __init__(self, term: MinimizeTerm, steps: int, learning_rate: float) -> None:
        self.term = term
        self.steps = steps
        device = next(term.estimator.parameters()).device
        self.optimizer = torch.optim.AdamW(
            term.estimator.parameters(), lr=learning_rate, weight_decay=0.0, fused=device.type in {"cpu", "cuda"}
        )

    def learn(self, reconstruction: MaskedOutput, images: Float[Tensor, "B C H W"]) -> Float[Tensor, ""]:
        """Take the steps, without a gradient to the encoder; returns the fit before the last of them, in nats."""
        inputs, latents = self.term.samples(reconstruction, images)
        fit = latents.new_zeros(())
        for _ in range(self.steps):
            fit = self.term.estimator(inputs, latents.detach()).fit
            (-fit).backward()
            average_gradients(self.term.estimator)
            # Adam's steps are short whatever the gradient's length; only non-finite ones must be kept out.
            _, bad = clip_and_arm(self.term.estimator.parameters(), self.optimizer, math.inf)
            step_if_finite(self.optimizer, bad)
            self.optimizer.zero_grad(set_to_none=True)
        return fit.detach()


def _projector(width: int, hidden: int, generator: torch.Generator) -> nn.Module:
    if not hidden:
        return nn.Identity()
    # Layers draw weights as they are made, before ours replace them.
    with torch.random.fork_rng(devices=[]):
        projector = two_layers(width, hidden, hidden)
    initialize(projector, generator)
    return projector


def _state(name: str, network: nn.Module, optimizer: torch.optim.Optimizer | None) -> dict[str, Tensor]:
    weights = {f"{name}.weights.{key}": value for key, value in network.state_dict().items()}
    moments = {} if optimizer is None else optimizer_tensors(network, optimizer)
    return weights | {f"{name}.optimizer.{key}": value for key, value in moments.items()}


def _restore(name: str, network: nn.Module, optimizer: torch.optim.Optimizer | None, files: TensorFiles) -> None:
    restore_weights(network, files, f"{name}.weights.")
    if optimizer is not None:
        restore_optimizer(network, optimizer, files, f"{name}.optimizer.")
