"""The paper's experiments: its figures, the runs that repeat them, and the report that compares."""
