from .choice import available_backends as available_backends
from .compositing import composite as composite
from .pictures import Rendering as Rendering
from .pictures import render as render
from .projection import project as project
from .soft_order import composite_softly as composite_softly
from .splats import Splats as Splats
from .view_colors import seen_by as seen_by
