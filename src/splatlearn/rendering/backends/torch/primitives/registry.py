"""The primitives by name, and Gaussians as one of them."""

from __future__ import annotations

from dataclasses import replace

from splatlearn.core.errors import InputError
from splatlearn.core.gaussians import GAUSSIAN, Gaussians
from splatlearn.rendering.backends.torch.primitives.analytic import AnalyticGaussian
from splatlearn.rendering.backends.torch.primitives.convex import Convex
from splatlearn.rendering.backends.torch.primitives.gaussian import Gaussian
from splatlearn.rendering.backends.torch.primitives.ges import GeneralisedExponential
from splatlearn.rendering.backends.torch.primitives.primitive import Primitive
from splatlearn.rendering.backends.torch.primitives.surfel import Surfel

_formulas: dict[str, Primitive] = {}


def register_primitive(primitive: type[Primitive]) -> type[Primitive]:
    """Register a primitive by its name; use it as a decorator of the class.

    Raises InputError if another one draws it with one of its filters, or has the formula's name.
    """
    made = primitive()
    formula = made.formula or made.name
    taken = any(each.name == made.name and set(each.filters) & set(made.filters) for each in _formulas.values())
    if formula in _formulas or taken:
        raise InputError(f"name: expected a primitive that is not registered yet, got {made.name!r}")
    _formulas[formula] = made
    return primitive


def primitives() -> tuple[str, ...]:
    """Return the names of the registered primitives."""
    return tuple(dict.fromkeys(each.name for each in _formulas.values()))


def primitive_of(name: str, filter: str | None = None) -> Primitive:
    """Return the primitive of a name, as it is drawn with `filter`; without one, whatever has to do with no picture.

    Raises InputError for an unknown name, and a filter that it does not know.
    """
    known = [each for each in _formulas.values() if each.name == name]
    if not known:
        raise InputError(f"primitive: expected one of {', '.join(primitives())}, got {name!r}")
    for each in known:
        if filter is None or filter in each.filters:
            return each
    filters = ", ".join(other for each in known for other in each.filters)
    raise InputError(f"filter: expected one of {filters} for the primitive {name!r}, got {filter!r}")


def formula_of(primitive: Primitive) -> str:
    """Return the name of its formula, which `Splats` carry."""
    return primitive.formula or primitive.name


def formula(name: str) -> Primitive:
    """Return the primitive of a formula. Raises InputError for an unknown name."""
    if name not in _formulas:
        raise InputError(f"primitive: expected one of {', '.join(_formulas)}, got {name!r}")
    return _formulas[name]


def as_primitive(gaussians: Gaussians, name: str) -> Gaussians:
    """Return Gaussians as another primitive; those of the same name come back as they are.

    Further numbers that the primitive has get its neutral values: plain Gaussians become generalised exponentials with
    an exponent of 2, which show the same. Raises InputError for an unknown name, and for Gaussians with `shapes`, which
    would be lost.
    """
    if gaussians.primitive == name:
        return gaussians
    primitive = primitive_of(name)
    if gaussians.shapes is not None:
        raise InputError(
            f"primitive: expected {gaussians.primitive!r}, whose shapes the gaussians have, got {name!r}; "
            f"replace(gaussians, primitive={GAUSSIAN!r}, shapes=None) drops them"
        )
    opacities = gaussians.opacities
    shapes = None
    if primitive.neutral:
        shapes = opacities.new_tensor(primitive.neutral).expand(*opacities.shape, len(primitive.neutral))
    return replace(gaussians, primitive=name, shapes=shapes)


def check_primitive(gaussians: Gaussians, filter: str | None = None, *, has_values: bool = False) -> Primitive:
    """Return the primitive of Gaussians, as it is drawn with `filter`; their `shapes` must be its own.

    Raises InputError for an unknown one, a filter that it does not know, and another number of further numbers; and for
    values that it does not allow, if `has_values`.
    """
    primitive = primitive_of(gaussians.primitive, filter)
    shapes = gaussians.shapes
    got = 0 if shapes is None else shapes.shape[-1]
    if (wanted := primitive.wanted(got)) is not None:
        raise InputError(
            f"shapes: expected {wanted} for the primitive {primitive.name!r}, got {got}; "
            "splatlearn.rendering.as_primitive fills them in"
        )
    if has_values and shapes is not None and (reason := primitive.refusal(shapes.detach())) is not None:
        raise InputError(f"shapes: expected {reason}")
    return primitive


for _each in (Gaussian, AnalyticGaussian, GeneralisedExponential, Surfel, Convex):
    register_primitive(_each)
