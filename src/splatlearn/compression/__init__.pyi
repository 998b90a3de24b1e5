from .compress import Compressed as Compressed
from .compress import compress as compress
from .significance import kept_share as kept_share
from .significance import significance as significance
from .surrounding import surrounding_cameras as surrounding_cameras
