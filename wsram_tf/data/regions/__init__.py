"""Files of large images: sets of them, regions read through their pyramids, and new pyramids."""
