"""Canvases of digits and clutter, drawn afresh in a tf.data pipeline."""

from wsram_tf import lazy_names

__getattr__, __dir__, __all__ = lazy_names.attach(__name__, __file__)
