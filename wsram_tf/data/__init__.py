"""Labelled images: handwritten digits, canvases drawn from them, image folders and public sets."""
