"""Presets: folders that hold a trained model; beside this file, those of the package."""

from wsram_tf import lazy_names

__getattr__, __dir__, __all__ = lazy_names.attach(__name__, __file__)
