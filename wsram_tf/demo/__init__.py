"""A page in the browser that asks exported models and shows where they look.

Needs Gradio, which `pip install "wsram_tf[demo]"` installs.
"""

from wsram_tf import lazy_names

__getattr__, __dir__, __all__ = lazy_names.attach(__name__, __file__)
