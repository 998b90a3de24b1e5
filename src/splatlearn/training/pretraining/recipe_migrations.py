"""Migration of older `recipe.json` files of pre-training runs, by a pure function."""

from __future__ import annotations

from splatlearn.runs.schema import State

NEW_OPTIONS = {"decoder_width": "decoder_embed_dim", "decoder_heads": "decoder_num_heads", "overlap": "initial_scale"}
"""New names of options about the model, by their old names."""
NEW_DATA = {"window": "shuffle_window"}
"""The same of options about the data."""
OLD_DECODERS = {"micro": 2, "tiny": 4, "small": 4}
"""Blocks of a GMAE's decoder in the default preset, before it had one."""
OLD_GAUSSIANS = {
    "gaussians": 256,
    "gaussians_per_query": 1,
    "color": "bounded",
    "background": "white",
    "initial_scale": 0.5,
}
"""Choices of the default preset when it shared these with the paper's."""


def migrate_recipe(values: State) -> State:
    """The values of any older `recipe.json` as this version reads them; the argument is left alone.

    Recipes once left a GMAE's options to the preset of their time; now they name all of them. What was not known yet
    about errors is what there was: squared ones, of hidden pixels. Tokens had no weight decay, and all gradients were
    clipped at 2.
    """
    objective, options, optimizer = (values.get(name, {}) for name in ("objective", "options", "optimizer"))
    if not all(isinstance(each, dict) for each in (objective, options, optimizer)):
        return values
    options = {NEW_OPTIONS.get(key, key): value for key, value in options.items()}
    data = values.get("data")
    if isinstance(data, dict):
        values = {**values, "data": {NEW_DATA.get(key, key): value for key, value in data.items()}}
    migrated = {
        **values,
        **({"options": options} if "options" in values else {}),
        "objective": {"visible_weight": 0.0, "error": "squared", **objective},
        "optimizer": {"decay_tokens": False, "clip_norm": 2.0, **optimizer},
    }
    name = str(values.get("model") or "")
    if not name.startswith("gmae_vit_") or values.get("preset") == "paper":
        return migrated
    given = {key: value for key, value in options.items() if value is not None}
    old = {**OLD_GAUSSIANS, "decoder_depth": OLD_DECODERS.get(name.split("_")[2])}
    return {**migrated, "options": {**options, **old, **given}}
