"""Exports trained models for TensorFlow Serving: versions, their verification, server files."""

from wsram_tf import lazy_names

__getattr__, __dir__, __all__ = lazy_names.attach(__name__, __file__)
