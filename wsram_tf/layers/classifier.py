"""The classifier: log-probabilities of the classes from the lower layer's state."""

import keras
import tensorflow as tf

__all__ = ["Classifier"]


@keras.saving.register_keras_serializable("wsram_tf")
class Classifier(keras.layers.Layer):
  """Computes log p(y | a, image) after the last glimpse.

  Args:
    num_classes: K.

  Call arguments:
    lower: float `[R, D]`, the lower layer's output.

  Returns:
    log-probabilities, float `[R, K]`, nats.

  Source: J. Ba, V. Mnih, K. Kavukcuoglu, Multiple Object Recognition with Visual Attention, ICLR
    2015, the classification network, arXiv 1412.7755.

  Example:

  >>> log_probs = Classifier(num_classes=2)(tf.zeros([1, 8]))
  >>> tf.exp(log_probs).numpy().tolist()
  [[0.5, 0.5]]
  """

  def __init__(self, num_classes: int, **kwargs):
    super().__init__(**kwargs)
    self.num_classes = num_classes
    self.logits = keras.layers.Dense(num_classes, name="logits")

  def build(self, lower_shape):
    """Creates the weights for states of this static shape."""
    self.logits.build(lower_shape)

  def call(self, lower: tf.Tensor) -> tf.Tensor:
    """Scores all classes, one glimpse sequence per row; see the class."""
    return tf.nn.log_softmax(self.logits(lower))

  def get_config(self):
    """Returns the constructor's arguments."""
    return {**super().get_config(), "num_classes": self.num_classes}
