"""Where a pre-training run begins: the recipe is completed, the data opened, and the loop of its kind is run."""

from __future__ import annotations

from typing import cast

from splatlearn.core.device import choose_device
from splatlearn.core.kinds import check_kind
from splatlearn.data import ImageSource, SplatSource, open_source, open_splats
from splatlearn.runs.folder import entered
from splatlearn.training.loop.processes import check_trackers, join_processes
from splatlearn.training.pretraining.loop import Pretraining
from splatlearn.training.pretraining.recipe import Recipe
from splatlearn.training.pretraining.starting import like_its_start
from splatlearn.training.result import RunResult
from splatlearn.training.splats.loop import SplatPretraining

__all__ = ["pretrain"]


def pretrain(recipe: Recipe, source: ImageSource | SplatSource | None = None, *, claimed: bool = False) -> RunResult:
    """Pre-train a model as the recipe says, into its run folder, and say how it went.

    `source` replaces `recipe.data.data` by images, or for splat-mae and splat-jepa by splat sets, in memory or of one's
    own making. With `claimed`, a new run may begin in a folder that holds other files, as long as none has the name of
    one of its own. Raises InputError (or a subclass that names the thing) for a recipe, data or folder that cannot
    work, before the first step; NonFiniteError when training diverges; CheckpointError where the folder takes no more.
    An interruption (Ctrl-C, SIGTERM, SIGUSR1) ends after the step at hand, with a checkpoint. Under torchrun every
    process calls it alike.
    """
    check_kind("recipe", recipe, Recipe)
    recipe = like_its_start(recipe).resolved()
    data = recipe.data
    check_trackers(recipe.run.trackers)
    processes = join_processes(choose_device(recipe.run.device))
    with entered(recipe.run, processes, claimed) as folder:
        if recipe.learns_from_splats:
            sets = open_splats(data.data, data.split) if source is None else source
            check_kind("source", sets, SplatSource)
            return SplatPretraining(recipe, folder, cast("SplatSource", sets), processes).run()
        images = source or open_source(
            data.data, data.split, data.image_column, shuffle_window=data.shuffle_window, lanes=data.lanes
        )
        return Pretraining(recipe, folder, cast("ImageSource", images), processes).run()
