"""Tasks for `runs.train`: data, model and figures of a run."""

from wsram_tf import lazy_names

__getattr__, __dir__, __all__ = lazy_names.attach(__name__, __file__)
