"""Pre-training and fine-tuning: recipes, loops, checkpoints and the log."""

from splatlearn.training.checkpoint import CheckpointError
from splatlearn.training.engine import RunResult
from splatlearn.training.finetune import FinetuneResult, finetune
from splatlearn.training.finetune_recipe import (
    AugmentOptions,
    FinetuneOptimizerOptions,
    FinetuneRecipe,
    LabelledOptions,
)
from splatlearn.training.guard import NonFiniteError
from splatlearn.training.loop import pretrain
from splatlearn.training.mutual_recipe import MutualInformationOptions
from splatlearn.training.recipe import DataOptions, ObjectiveOptions, OptimizerOptions, Recipe, RunOptions
from splatlearn.training.run_folder import RunFolderError

__all__ = [
    "AugmentOptions",
    "CheckpointError",
    "DataOptions",
    "FinetuneOptimizerOptions",
    "FinetuneRecipe",
    "FinetuneResult",
    "LabelledOptions",
    "MutualInformationOptions",
    "NonFiniteError",
    "ObjectiveOptions",
    "OptimizerOptions",
    "Recipe",
    "RunFolderError",
    "RunOptions",
    "RunResult",
    "finetune",
    "pretrain",
]
