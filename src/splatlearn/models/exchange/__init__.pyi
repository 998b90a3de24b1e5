from .choices import ImportOptions as ImportOptions
from .choices import Target as Target
from .huggingface import export_vit as export_vit
from .huggingface import export_vit_mae as export_vit_mae
from .importing import Imported as Imported
from .importing import import_model as import_model
from .layout import standardized_picture as standardized_picture
from .timm import export_timm as export_timm
