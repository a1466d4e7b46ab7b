"""Captioned images: scenes of digits, Flickr8k, COCO, and feature grids of their images."""
