"""The functions that an exported classifier offers: of whole images, and of single glimpses."""
