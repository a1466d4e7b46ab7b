"""The mathematics of the estimators: pure functions from log-probabilities to losses."""

from wsram_tf import lazy_names

__getattr__, __dir__, __all__ = lazy_names.attach(__name__, __file__)
