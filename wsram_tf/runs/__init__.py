"""Training runs: `train`, `evaluate`, `compare`, and the folder that a run writes."""

from wsram_tf import lazy_names

__getattr__, __dir__, __all__ = lazy_names.attach(__name__, __file__)
