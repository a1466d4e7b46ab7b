"""A Keras model that checks its images and has a default export signature."""

import os
from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from wsram_tf.data.orders import first_few
from wsram_tf.learning import update_guard
from wsram_tf.learning.inputs import InputRules, checked_inputs
from wsram_tf.presets import ShippedPresets, load_preset, save_preset
from wsram_tf.settings import as_array

__all__ = ["CheckedModel"]


class CheckedModel(keras.Model):
  """Checks images in `predict` and in calls, and exports with its own input signature.

  A subclass defines `input_rules`. Calls always check shape and dtype. They check pixels in eager
  mode only, because a graph, for instance of an export, has no values yet.
  """

  presets = ShippedPresets()

  @classmethod
  def from_preset(cls, preset: str | os.PathLike, *, load_weights: bool = True) -> Any:
    """Loads a model from a preset, by the conventions of KerasHub.

    It executes no code of the preset: its classes are those of this package, or classes that you
    registered.

    Args:
      preset: a name among `presets`, which come with the package, or a folder that `save_to_preset`
        wrote.
      load_weights: whether to load the weights, or to leave the fresh ones.

    Raises:
      ValueError: if there is no such preset, it holds another class, or it is damaged.

    Example:

    >>> import wsram_tf
    >>> network = wsram_tf.PredictionNetwork.from_preset("translated_scaled")
    >>> network.config.image_shape
    (100, 100, 1)
    """
    return load_preset(cls, preset, load_weights=load_weights)

  def save_to_preset(
    self,
    preset_dir: str | os.PathLike,
    *,
    names: Sequence[str] = (),
    description: str = "",
    card: str | None = None,
  ) -> None:
    """Saves the model as a preset: configuration, weights, names, and a model card.

    Args:
      preset_dir: the folder, new or empty.
      names: of the classes, or of the words of a vocabulary, by label; empty where they have none.
      description: one line.
      card: the model card, Markdown: data, figures, limits, licence, command. None: a card to
        complete.

    Raises:
      ValueError: if the folder is not empty, the names are not one for each label, a weight is NaN
        or infinite, or the model was quantized.
      OSError: if it cannot be written; no folder remains then.
    """
    self._check_not_quantized("preset_dir", preset_dir)
    broken = update_guard.non_finite(self.weights)
    if broken:
      raise ValueError(
        f"preset_dir={os.fspath(preset_dir)!r}: cannot hold NaN or infinite weights: "
        f"{first_few(broken)}"
      )
    save_preset(self, preset_dir, names=names, description=description, card=card)

  def save(
    self,
    filepath: str | os.PathLike,
    overwrite: bool = True,
    zipped: bool | None = None,
    **kwargs,
  ) -> None:
    """Saves as `keras.Model.save` does.

    Raises:
      ValueError: if the model was quantized: its file could not be loaded.
    """
    self._check_not_quantized("filepath", filepath)
    super().save(filepath, overwrite, zipped, **kwargs)

  def _check_not_quantized(self, name: str, path: str | os.PathLike) -> None:
    # The configuration of a model lists the settings that make its layers, not their quantization.
    for layer in self._flatten_layers(include_self=False):
      mode = layer.quantization_mode
      if mode:
        raise ValueError(
          f"{name}={os.fspath(path)!r}: cannot hold a model quantized to {mode}; save it before, "
          "quantize it after loading, or export it"
        )

  @property
  def input_rules(self) -> InputRules:
    """The rules of this model's images and targets."""
    raise AttributeError(f"{type(self).__name__}: must define input_rules")

  def __call__(self, images: Any, *args, **kwargs) -> Any:
    """Calls the model on checked images; see the class."""
    if isinstance(images, list | tuple):
      images = as_array("images", images)
    self.check_images(images)
    return super().__call__(images, *args, **kwargs)

  def check_images(self, images: Any) -> None:
    """Checks images before the model reads them; of symbolic tensors, shape and dtype alone.

    Raises:
      ValueError: if they break a rule of the model's input.
    """
    if tf.is_tensor(images) and not hasattr(images, "numpy"):
      # Static checks only: assertions would become part of every exported graph.
      self.input_rules.static_images(images.shape, images.dtype)
    elif isinstance(images, keras.KerasTensor):
      self.input_rules.static_images(tf.TensorShape(images.shape), tf.as_dtype(images.dtype))
    else:
      self.input_rules.images(as_array("images", images))

  def predict(
    self,
    x: Any,
    batch_size: int | None = None,
    verbose: str | int = "auto",
    steps: int | None = None,
    callbacks: Any = None,
  ) -> Any:
    """Predicts as `keras.Model.predict` does, on checked images.

    Args:
      x: images, an array or a list; or a `tf.data.Dataset`, a `keras.utils.PyDataset` or a
        generator of batches of them. Targets in a batch are ignored.
      batch_size, verbose, steps, callbacks: as in Keras.

    Raises:
      ValueError: if images break a rule: shape, dtype, range, finite values.
      tf.errors.InvalidArgumentError: if images of a dataset break a rule.
    """
    x, _, _ = checked_inputs(self.input_rules, x, images_only=True)
    return super().predict(x, batch_size, verbose, steps, callbacks)

  def predict_on_batch(self, x: Any) -> Any:
    """Predicts for one batch of checked images; see `predict`."""
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
    """Exports as `keras.Model.export` does, for any number of images, with LiteRT for one image.

    For a SavedModel with checked inputs, named signatures and warm-up requests, use
    `export/export_classifier.py`.
    """
    if input_signature is None:
      # The LiteRT interpreter rejects the model's reshapes of a batch of unknown size.
      shape = (1 if format == "litert" else None, *self.input_rules.image_shape)
      input_signature = [keras.InputSpec(shape=shape, dtype="float32")]
    super().export(filepath, format, verbose, input_signature, **kwargs)
