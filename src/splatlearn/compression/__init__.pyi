from .codebooks import ResidualCodes as ResidualCodes
from .codebooks import residual_codes as residual_codes
from .recovery import recover as recover
from .scores import kept_share as kept_share
from .scores import significance as significance
from .search import Compressed as Compressed
from .search import compress as compress
from .surrounding import surrounding_cameras as surrounding_cameras
