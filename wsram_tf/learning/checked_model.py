"""A Keras model of images that checks what it is asked about, and that exports as it stands."""

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from wsram_tf.learning.inputs import InputRules, checked_inputs

__all__ = ["CheckedModel"]


class CheckedModel(keras.Model):
  """Checks images in `predict` and in calls, and knows its own input signature.

  A subclass offers `input_rules`. Calls check shape and dtype always, and pixels where the images
  are at hand: in a graph, such as an export, their values are unknown.
  """

  @property
  def input_rules(self) -> InputRules:
    """The rules of this model's images and targets."""
    raise AttributeError(f"{type(self).__name__}: must offer input_rules")

  def __call__(self, images: Any, *args, **kwargs) -> Any:
    """Calls the model on checked images; see the class."""
    if isinstance(images, list | tuple):
      images = np.asarray(images)
    if tf.is_tensor(images) and not hasattr(images, "numpy"):
      # Static checks alone: assertions would become part of every exported graph.
      self.input_rules.static_images(images.shape, images.dtype)
    elif isinstance(images, keras.KerasTensor):
      self.input_rules.static_images(tf.TensorShape(images.shape), tf.as_dtype(images.dtype))
    else:
      self.input_rules.images(np.asarray(images))
    return super().__call__(images, *args, **kwargs)

  def predict(
    self,
    x: Any,
    batch_size: int | None = None,
    verbose: str | int = "auto",
    steps: int | None = None,
    callbacks: Any = None,
  ) -> Any:
    """Answers as `keras.Model.predict` does, about checked images.

    Args:
      x: images, an array or a list; or a `tf.data.Dataset`, a `keras.utils.PyDataset` or a
        generator of batches of them, alone or with targets, which are ignored.
      batch_size, verbose, steps, callbacks: as Keras has them.

    Raises:
      ValueError: if images break a rule: shape, dtype, range, finite values.
      tf.errors.InvalidArgumentError: if images of a dataset do.
    """
    x, _, _ = checked_inputs(self.input_rules, x, images_only=True)
    return super().predict(x, batch_size, verbose, steps, callbacks)

  def predict_on_batch(self, x: Any) -> Any:
    """Answers about one batch of checked images; see `predict`."""
    x, _, _ = checked_inputs(self.input_rules, x, images_only=True)
    return super().predict_on_batch(x)

  def export(
    self,
    filepath: str,
    format: str = "tf_saved_model",
    verbose: bool | None = None,
    input_signature: Any = None,
    **kwargs,
  ) -> None:
    """Exports as `keras.Model.export` does, with images of any number, or for LiteRT one.

    For a SavedModel with checked inputs, named signatures and warm-up requests, use
    `export/export_classifier.py`.
    """
    if input_signature is None:
      # The LiteRT interpreter rejects the model's reshapes where the batch is open.
      shape = (1 if format == "litert" else None, *self.input_rules.image_shape)
      input_signature = [keras.InputSpec(shape=shape, dtype="float32")]
    super().export(filepath, format, verbose, input_signature, **kwargs)
