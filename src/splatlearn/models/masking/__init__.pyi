from .mask import Grid as Grid
from .mask import Mask as Mask
from .mask import join_masks as join_masks
from .mask import mask_from_noise as mask_from_noise
from .mask import orthogonal_masks as orthogonal_masks
from .mask import orthogonal_masks_from_noise as orthogonal_masks_from_noise
from .mask import random_mask as random_mask
