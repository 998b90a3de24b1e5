"""Model cards: the README.md of a model folder, as the Hugging Face Hub shows it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import huggingface_hub

from splatlearn.models.classifier import Classifier
from splatlearn.models.gmae import GMAE
from splatlearn.models.mae import MAE
from splatlearn.models.nn.sizes import ViTConfig
from splatlearn.models.splats.presets import SplatModel

AnyModel = MAE | GMAE | Classifier | SplatModel

CARD_NAME = "README.md"
MARK = "<!-- Written by splatlearn and replaced when the model is saved again; remove this line to keep your words. -->"
_PAPERS = {
    "GMAE": "Gaussian Masked Autoencoders, [arXiv 2501.03229](https://arxiv.org/abs/2501.03229)",
    "SplatMAE": "ShapeSplat, [arXiv 2408.10906](https://arxiv.org/abs/2408.10906)",
    "SplatJEPA": "joint embedding prediction, [arXiv 2608.15651](https://arxiv.org/abs/2608.15651)",
    "MAE": "Masked Autoencoders Are Scalable Vision Learners, [arXiv 2111.06377](https://arxiv.org/abs/2111.06377)",
}


@dataclass(frozen=True)
class CardScore:
    """One result of an evaluation.

    - `data`, `probe`, `metric`: on what, how and in what it was measured.
    - `value`: of the model, in [0, 1] where the unit is %; `controls`: of what it is compared with, by name.
    """

    data: str
    probe: str
    metric: str
    value: float
    controls: Mapping[str, float] = field(default_factory=dict)
    unit: Literal["%", "dB"] = "%"


@dataclass(frozen=True)
class CardFacts:
    """Facts of a model card that the model does not hold.

    - `name`: of the run; `data`: what it learned from; `recipe`: every choice, by its name; `command`: that started it.
    - `steps`, `loss`: how far it came; `curve`: steps, each with the mean loss since the one before.
    - `scores`: what evaluations found; `versions`: of the packages.
    - `license`: of the weights, as the Hub's identifiers name it; None says that none was chosen.
    """

    name: str | None = None
    data: str | None = None
    recipe: Mapping[str, object] = field(default_factory=dict)
    command: str | None = None
    steps: int | None = None
    loss: float | None = None
    curve: tuple[tuple[int, float], ...] = ()
    scores: tuple[CardScore, ...] = ()
    versions: Mapping[str, object] = field(default_factory=dict)
    license: str | None = None


@dataclass(frozen=True)
class CardUsage:
    """The library that loads a folder, the code that does so, and what there is to know about it."""

    library: str = "splatlearn"
    code: str = 'import splatlearn as sl\n\nmodel = sl.load_model("FOLDER_OR_HUB_ID")'
    note: str = ""


def model_card(model: AnyModel, facts: CardFacts | None = None, usage: CardUsage | None = None) -> str:
    """The text of a model card: what the model is, how to load it, its data, recipe, scores and licence.

    Whatever the facts hold appears as text: names cannot become markup.
    """
    facts = facts or CardFacts()
    usage = usage or _own_usage(model)
    parts = [
        f"---\n{_metadata(model, facts, usage)}\n---",
        f"# {_text(facts.name) if facts.name else type(model).__name__}",
        _summary(model),
        f"## Use\n\n{_fenced(usage.code, 'python')}" + (f"\n\n{usage.note}" if usage.note else ""),
        f"## Data\n\n{_code(facts.data) if facts.data else 'Not recorded.'}",
        f"## Recipe\n\n{_recipe(facts)}",
        f"## Results\n\n{_results(facts)}",
        f"## Licence\n\n{_licence(facts)}",
    ]
    return "\n\n".join([*parts, MARK]) + "\n"


def may_write_card(folder: Path) -> bool:
    """Whether a folder has no README.md, or one that `model_card` wrote and nobody took over."""
    card = folder / CARD_NAME
    return not card.exists() or MARK in card.read_text(encoding="utf-8", errors="replace")


def _own_usage(model: AnyModel) -> CardUsage:
    if isinstance(model, SplatModel):
        return CardUsage(code='import splatlearn as sl\n\nmodel = sl.models.load_splat_model("FOLDER_OR_HUB_ID")')
    if isinstance(model, Classifier):
        return CardUsage(code='import splatlearn as sl\n\nmodel = sl.load_classifier("FOLDER_OR_HUB_ID")')
    return CardUsage()


def _metadata(model: AnyModel, facts: CardFacts, usage: CardUsage) -> str:
    pretrained = not isinstance(model, Classifier)
    results = [
        huggingface_hub.EvalResult(
            task_type="image-feature-extraction" if pretrained else "image-classification",
            dataset_type=re.sub(r"[^\w./-]+", "-", score.data) or "data", dataset_name=score.data,
            metric_type=score.metric, metric_name=f"{score.probe} {score.metric}", metric_value=round(score.value, 4),
        )
        for score in facts.scores
    ]  # fmt: skip
    data = huggingface_hub.ModelCardData(
        library_name=usage.library,
        license=facts.license,
        pipeline_tag="image-feature-extraction" if pretrained else "image-classification",
        tags=[
            "splatlearn",
            "masked-autoencoder",
            *(["gaussian-splatting"] if isinstance(model, GMAE | SplatModel) else []),
        ],
        model_name=(facts.name or type(model).__name__) if results else None,
        eval_results=results or None,
    )
    return data.to_yaml()


def _summary(model: AnyModel) -> str:
    encoder = model.config.encoder
    sizes = f"- Encoder: Vision Transformer, {encoder.depth} blocks of width {encoder.embed_dim}, "
    if isinstance(encoder, ViTConfig):
        lines = [
            f"{sizes}{encoder.num_heads} heads, patches of {encoder.patch_size} px",
            f"- Images: {encoder.image_size[0]} × {encoder.image_size[1]} px, {encoder.channels} channels in [0, 1]",
        ]
    else:
        lines = [
            f"{sizes}{encoder.num_heads} heads",
            f"- Splat sets: {encoder.groups} groups ({encoder.tokenizer}) of {encoder.group_size} Gaussians, of "
            f"{encoder.draw} drawn; it sees {', '.join(encoder.attributes)}",
        ]
    if isinstance(model, Classifier):
        kind = f"A classifier of {len(model.config.classes)} classes on a masked autoencoder's encoder"
    else:
        decoder = model.config.decoder
        blocks = "1 block" if decoder.depth == 1 else f"{decoder.depth} blocks"
        lines.append(f"- Decoder: {blocks} of width {decoder.embed_dim}, {decoder.num_heads} heads")
        kind = f"A masked autoencoder: {_PAPERS[type(model).__name__]}"
    if isinstance(model, GMAE):
        lines.append(f"- Gaussians: {model.config.gaussians} an image")
    lines.append(f"- Parameters: {sum(each.numel() for each in model.parameters()):,}")
    return f"{kind}. Made with splatlearn.\n\n" + "\n".join(lines)


def _recipe(facts: CardFacts) -> str:
    if not facts.recipe:
        return "Not recorded."
    parts = []
    if facts.command:
        parts.append(_fenced(facts.command, "sh"))
    if facts.steps is not None:
        parts.append(f"{facts.steps:,} steps" + ("." if facts.loss is None else f", loss {facts.loss:.4g} at the end."))
    if facts.curve:
        steps, losses = zip(*facts.curve, strict=True)
        parts.append("The curve, means of the loss up to each step:")
        parts.append(
            _table(["step", *(f"{each:,}" for each in steps)], [["loss", *(f"{each:.4g}" for each in losses)]])
        )
    parts.append(_table(["field", "value"], [[_code(name), _code(value)] for name, value in facts.recipe.items()]))
    if facts.versions:
        parts.append("Versions: " + ", ".join(f"{_text(k)} {_text(v)}" for k, v in facts.versions.items()) + ".")
    return "\n\n".join(parts)


def _results(facts: CardFacts) -> str:
    if not facts.scores:
        return "Not evaluated."
    controls = list(dict.fromkeys(name for score in facts.scores for name in score.controls))
    rows = [
        [_code(score.data), _text(score.probe), _text(score.metric), _figure(score.value, score.unit)]
        + [_figure(score.controls.get(name), score.unit) for name in controls]
        for score in facts.scores
    ]
    columns = ["data", "probe", "metric", "model", *map(_text, controls)]
    units = "Percent" if all(score.unit == "%" for score in facts.scores) else "Percent where no unit is given"
    return f"{units}; the other columns are controls without training.\n\n{_table(columns, rows)}"


def _licence(facts: CardFacts) -> str:
    if facts.license is None:
        return "No licence was chosen for these weights. The code that made them is under Apache-2.0."
    return f"Weights: {_code(facts.license)}. The code that made them is under Apache-2.0."


def _figure(value: float | None, unit: str) -> str:
    if value is None:
        return "–"
    return f"{100 * value:.1f}" if unit == "%" else f"{value:.2f} {unit}"


def _table(columns: list[str], rows: list[list[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _one_line(value: object) -> str:
    return " ".join(str(value).split())


def _text(value: object) -> str:
    """Words, with whatever Markdown or HTML would read as markup escaped."""
    return re.sub(r"([\\`*_{}\[\]<>#|~&!()])", r"\\\1", _one_line(value))


def _code(value: object) -> str:
    """Words in a code span, fenced by more backticks than they hold; bars are escaped for tables."""
    line = _one_line(value).replace("|", "\\|")
    if not line:
        return "–"
    fence = "`" * (max((len(run) for run in re.findall("`+", line)), default=0) + 1)
    space = " " if "`" in line else ""
    return f"{fence}{space}{line}{space}{fence}"


def _fenced(text: str, language: str) -> str:
    fence = "`" * max(3, max((len(run) for run in re.findall("`+", text)), default=0) + 1)
    return f"{fence}{language}\n{text}\n{fence}"
