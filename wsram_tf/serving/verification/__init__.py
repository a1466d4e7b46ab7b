"""Verifies exports through TensorFlow's C++ loader, as a model server meets them."""

from wsram_tf import lazy_names

__getattr__, __dir__, __all__ = lazy_names.attach(__name__, __file__)
