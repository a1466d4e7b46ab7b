"""Input pipelines: digits, canvases that hold them, and checks of what a user passes in."""
