from .backends import available_backends as available_backends
from .composite import composite as composite
from .projection import project as project
from .rendering import Rendering as Rendering
from .rendering import render as render
from .soft_order import composite_softly as composite_softly
from .splats import Splats as Splats
