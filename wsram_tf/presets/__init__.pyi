from .folders import ShippedPresets as ShippedPresets
from .folders import load_preset as load_preset
from .folders import preset_names as preset_names
from .folders import save_preset as save_preset
from .folders import shipped as shipped
