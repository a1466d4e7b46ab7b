"""Captioned images: scenes of digits, Flickr8k, COCO, and feature grids of their images."""

from wsram_tf import lazy_names

__getattr__, __dir__, __all__ = lazy_names.attach(__name__, __file__)
