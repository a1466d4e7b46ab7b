from .config import CanvasConfig as CanvasConfig
from .datasets import canvas_dataset as canvas_dataset
from .datasets import evaluation_canvases as evaluation_canvases
