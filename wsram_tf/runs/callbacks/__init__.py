"""The callbacks of a run: its records, what it prints, its end on request."""
