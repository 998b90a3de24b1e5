"""Pre-training: the recipe, the loop, checkpoints and the log."""

from splatlearn.training.checkpoint import CheckpointError
from splatlearn.training.engine import RunResult
from splatlearn.training.guard import NonFiniteError
from splatlearn.training.loop import pretrain
from splatlearn.training.recipe import DataOptions, ObjectiveOptions, OptimizerOptions, Recipe, RunOptions
from splatlearn.training.run_folder import RunFolderError

__all__ = [
    "CheckpointError",
    "DataOptions",
    "NonFiniteError",
    "ObjectiveOptions",
    "OptimizerOptions",
    "Recipe",
    "RunFolderError",
    "RunOptions",
    "RunResult",
    "pretrain",
]
