from .decoding import decode as decode
from .errors import DataError as DataError
from .errors import UnreadableImage as UnreadableImage
from .left_out import LeftOut as LeftOut
from .left_out import left_out_of as left_out_of
