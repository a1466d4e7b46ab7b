"""Classification: the prediction network, the inference network and their learner."""

from wsram_tf import lazy_names

__getattr__, __dir__, __all__ = lazy_names.attach(__name__, __file__, with_models=True)
