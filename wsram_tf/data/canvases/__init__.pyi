from .config import CanvasConfig as CanvasConfig
from .config import MegapixelConfig as MegapixelConfig
from .datasets import canvas_dataset as canvas_dataset
from .datasets import evaluation_canvases as evaluation_canvases
from .megapixel import MegapixelCanvases as MegapixelCanvases
