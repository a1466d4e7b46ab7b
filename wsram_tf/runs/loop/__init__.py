"""The training loop of a run: updates, evaluations, records, and stops on request."""
