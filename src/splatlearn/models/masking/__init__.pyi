from .drawing import mask_from_noise as mask_from_noise
from .drawing import orthogonal_masks as orthogonal_masks
from .drawing import orthogonal_masks_from_noise as orthogonal_masks_from_noise
from .drawing import random_mask as random_mask
from .mask import Grid as Grid
from .mask import Mask as Mask
from .mask import join_masks as join_masks
