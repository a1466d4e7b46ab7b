"""Copies the weights of a Keras network into plain variables, and calls the network with them.

An export saves these variables instead of the network: a trained network drags its optimizer along,
and the C++ loader cannot find the network's own variables.
"""

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

__all__ = ["LentWeights"]


class LentWeights:
  """A copy of all weights of a network, including those that do not train.

  Args:
    network: its current weights are copied.

  Attributes:
    variables: the copies; the saved module must hold them.
  """

  def __init__(self, network: keras.Model):
    self._network = network
    self.variables = [
      tf.Variable(weight.value, trainable=False, name=weight.path.replace("/", "."))
      for weight in network.weights
    ]

  def call(self, function: Callable[..., Any], *arguments: Any) -> Any:
    """Calls a function that calls the network, with these weights instead of the network's own."""
    # Reads them once a call, not once a glimpse: for one image, the operations' number decides.
    values = [variable.value() for variable in self.variables]
    lent = list(zip(self._network.weights, values, strict=True))
    with keras.StatelessScope(state_mapping=lent):
      return function(*arguments)
