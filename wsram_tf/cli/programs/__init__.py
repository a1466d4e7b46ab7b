"""One module for each group of programs."""
