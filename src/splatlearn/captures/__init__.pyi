from .capture import Capture as Capture
from .capture import Points as Points
from .capture import Tracks as Tracks
from .capture import View as View
from .lenses import Lens as Lens
from .load import load_capture as load_capture
from .photographs import Photo as Photo
from .photographs import Photographs as Photographs
