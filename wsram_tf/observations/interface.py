"""The interface between images and the networks that look at them."""

from typing import Protocol

import tensorflow as tf

__all__ = ["Observation"]


class Observation(Protocol):
  """B images, of which a network sees a low-resolution copy and patches, and nothing else.

  This is g(a, I) of the paper. A network neither knows nor asks where the pixels are.

  Attributes:
    dtype: of the low-resolution copy and of the patches.

  Source: J. Ba, R. Grosse, R. Salakhutdinov, B. Frey, Learning Wake-Sleep Recurrent Attention
    Models, NIPS 2015, section 3, arXiv 1509.06812.
  """

  dtype: tf.DType

  def low_resolution(self, side: int) -> tf.Tensor:
    """Averages each image over `side` x `side` equal areas, float `[B, side, side, C]`."""

  def patches(self, locations: tf.Tensor) -> tf.Tensor:
    """Returns the patches of one glimpse a row.

    Args:
      locations: float `[R, 2]`, (row, column) in [-1, 1]; where each glimpse chooses a scale
        `[R, 3]`, (row, column, scale). R = B * M; the M rows of an image are consecutive.

    Returns:
      float `[R, S, G, G, C]`; where each glimpse chooses a scale `[R, 1, G, G, C]`.
    """
