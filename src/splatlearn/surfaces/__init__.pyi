from .fusion import Fused as Fused
from .fusion import MeshOptions as MeshOptions
from .fusion import depth_views as depth_views
from .fusion import fuse as fuse
from .mesh import Mesh as Mesh
from .mesh_files import write_mesh as write_mesh
from .volume import DepthView as DepthView
