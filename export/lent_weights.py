"""Weights that belong to an export alone, and are lent to a Keras network while it is called.

The module that is saved holds plain variables, not the Keras network: a network that was trained
drags its optimizer along and its own variables cannot be found by the C++ loader.
"""

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

__all__ = ["LentWeights"]


class LentWeights:
  """A copy of all weights of a network, those that do not train included.

  Args:
    network: whose weights are copied, as they are now.

  Attributes:
    variables: the copies; the module that is saved must hold them.
  """

  def __init__(self, network: keras.Model):
    self._network = network
    self.variables = [
      tf.Variable(weight.value, trainable=False, name=weight.path.replace("/", "."))
      for weight in network.weights
    ]

  def call(self, function: Callable[..., Any], *arguments: Any) -> Any:
    """Calls a function that calls the network, with these weights in place of the network's own."""
    # Read once a call, not once a glimpse: for one image the operations' number is the time.
    values = [tf.identity(variable) for variable in self.variables]
    lent = list(zip(self._network.weights, values, strict=True))
    with keras.StatelessScope(state_mapping=lent):
      return function(*arguments)
