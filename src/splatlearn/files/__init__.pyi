from .choices import SplatFormat as SplatFormat
from .cloud import SplatCloud as SplatCloud
from .errors import MAX_GAUSSIANS as MAX_GAUSSIANS
from .errors import SplatFileError as SplatFileError
from .formats import SPLAT_FORMATS as SPLAT_FORMATS
from .formats import read_splats as read_splats
from .formats import write_splats as write_splats
from .pinhole import to_pinhole as to_pinhole
