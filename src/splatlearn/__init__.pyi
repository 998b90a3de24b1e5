from . import zero_shot as zero_shot
from .core.cameras import Camera as Camera
from .core.gaussians import Gaussians as Gaussians
from .files import SplatCloud as SplatCloud
from .files import SplatFileError as SplatFileError
from .files import bake_pinhole as bake_pinhole
from .files import read_splats as read_splats
from .files import write_splats as write_splats
from .fitting import refine as refine
from .models import GMAE as GMAE
from .models import MAE as MAE
from .models import Mask as Mask
from .models import ModelOptions as ModelOptions
from .models import Reconstruction as Reconstruction
from .models import create_model as create_model
from .models import load_classifier as load_classifier
from .models import load_model as load_model
from .models import orthogonal_masks as orthogonal_masks
from .models import random_mask as random_mask
from .models import save_model as save_model
from .models.exchange import import_model as import_model
from .models.folders.hub import push_to_hub as push_to_hub
from .rendering import Rendering as Rendering
from .rendering import Splats as Splats
from .rendering import available_backends as available_backends
from .rendering import composite as composite
from .rendering import project as project
from .rendering import render as render

load = load_model
save = save_model
