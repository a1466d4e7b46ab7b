"""The one way in which datasets are mapped."""

from collections.abc import Callable

import tensorflow as tf

__all__ = ["map_in_order"]


def map_in_order(
  dataset: tf.data.Dataset, function: Callable[..., tuple], at_once: int = tf.data.AUTOTUNE
) -> tf.data.Dataset:
  """Maps elements side by side and ahead of need, and gives them in their order.

  Args:
    dataset: of what the function takes.
    function: of tensors; its Python is traced as it stands, which starts faster than a conversion,
      so conditions on tensors must be spelled `tf.cond`.
    at_once: how many elements are made side by side, and kept ready.
  """
  plain = tf.autograph.experimental.do_not_convert(function)
  mapped = dataset.map(plain, num_parallel_calls=at_once, deterministic=True)
  return mapped.prefetch(at_once)
