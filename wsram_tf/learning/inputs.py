"""Checks of every form of data that Keras' `fit`, `evaluate` and `predict` take."""

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol

import keras
import numpy as np
import tensorflow as tf

from wsram_tf.data.pipelines import map_in_order
from wsram_tf.settings import as_array

__all__ = ["InputRules", "check_micro_batches", "checked_inputs", "unpack_batch"]


class InputRules(Protocol):
  """The rules of a model's images and targets.

  Attributes:
    image_shape: (H, W, C), pixels and channels.
    target_name: the targets' name in error messages, such as `labels`.
    num_classes: K where a target is one class; else None.
  """

  image_shape: tuple[int, int, int]
  target_name: str
  num_classes: int | None

  def static_images(self, shape: tf.TensorShape, dtype: tf.DType) -> None:
    """Raises ValueError if the shape or dtype of images breaks a rule."""

  def images(self, images: np.ndarray) -> np.ndarray:
    """Returns an array of images; raises ValueError if it breaks a rule."""

  def image_batch(self, images: tf.Tensor) -> tf.Tensor:
    """Returns a batch of images; asserts in the graph what is not static."""

  def arrays(self, images: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns images and targets as the model trains on them; raises ValueError."""

  def batch(self, images: tf.Tensor, targets: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns a batch as the model trains on it; asserts in the graph."""


def unpack_batch(data: Any, target_name: str) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor | None]:
  """Splits a batch into images, targets and sample weights, which may be None.

  Args:
    data: `(images, targets)` or `(images, targets, sample_weight)`.
    target_name: the targets' name in error messages.

  Raises:
    ValueError: if targets are missing.
  """
  if isinstance(data, Mapping):
    raise ValueError(
      f"batch of keys {sorted(data)}: must be a tuple (images, {target_name}); with TensorFlow "
      "Datasets use tfds.load(..., as_supervised=True)"
    )
  images, targets, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
  if targets is None:
    raise ValueError(f"{target_name}=None: must be given with the images")
  return images, targets, sample_weight


def checked_inputs(
  rules: InputRules,
  x: Any,
  y: Any = None,
  sample_weight: Any = None,
  class_weight: Mapping[int, float] | None = None,
  *,
  images_only: bool = False,
  micro_batches: int = 1,
) -> tuple[Any, Any, Any]:
  """Checks data and returns it in a form of the same kind.

  Arrays, and objects that NumPy converts to arrays, are checked at once; batches of a
  `tf.data.Dataset`, a `keras.utils.PyDataset` or a generator when they are read.

  Args:
    rules: the model's rules.
    x: images, or a dataset or generator of batches.
    y: targets, where `x` is images.
    sample_weight: `[B]`, one weight an image, where `x` is images.
    class_weight: weight by class; 1 for the classes that it lacks.
    images_only: check and return images alone, for `predict`.
    micro_batches: must divide the rows of each batch of a dataset or generator.

  Returns:
    x, y and sample_weight for Keras.

  Raises:
    ValueError: if arrays, or static shapes and dtypes of a dataset, break a rule.

  Example:

  >>> import numpy as np
  >>> from wsram_tf.classification.inputs.checks import LabelRules
  >>> images = np.zeros([2, 4, 4, 1], np.float32)
  >>> x, y, sample_weight = checked_inputs(LabelRules((4, 4, 1), 3), images, [0, 2])
  >>> sample_weight is None
  True
  """
  if class_weight is not None and sample_weight is not None:
    raise ValueError("class_weight, sample_weight: must not both be given")
  checks = _BatchChecks(rules, images_only, _class_weights(class_weight, rules), micro_batches)
  if isinstance(x, tf.data.Dataset):
    return map_in_order(x, checks.tensors), y, sample_weight
  if isinstance(x, keras.utils.PyDataset):
    return _CheckedPyDataset(x, checks.arrays), y, sample_weight
  if isinstance(x, Iterator):
    return (checks.arrays(*_as_tuple(batch)) for batch in x), y, sample_weight
  if isinstance(x, Mapping) or not (hasattr(x, "__array__") or isinstance(x, list | tuple)):
    raise ValueError(
      f"x of {type(x).__name__}: must be an array of images, a tf.data.Dataset, a "
      "keras.utils.PyDataset, or a generator of batches"
    )
  # Not a batch, so `check_micro_batches` is for the caller, who knows the size of a batch.
  checked = dataclasses.replace(checks, micro_batches=1).arrays(x, y, sample_weight)
  return (*checked, None, None)[:3]


@dataclasses.dataclass(frozen=True)
class _BatchChecks:
  """Checks one batch, or whole arrays.

  Attributes:
    rules: the model's rules.
    images_only: drop targets and weights.
    class_weights: float32 `[K]`, or None.
    micro_batches: must divide the rows.
  """

  rules: InputRules
  images_only: bool
  class_weights: np.ndarray | None
  micro_batches: int

  def arrays(self, x: Any, y: Any = None, sample_weight: Any = None) -> tuple:
    """Returns `(images,)`, `(images, targets)` or `(images, targets, sample_weight)`."""
    name = self.rules.target_name
    if self.images_only:
      return (self.rules.images(as_array("images", x)),)
    x, y, sample_weight = unpack_batch(x if y is None else (x, y, sample_weight), name)
    x, y = self.rules.arrays(as_array("images", x), as_array(name, y))
    check_micro_batches(self.micro_batches, len(y))
    if self.class_weights is not None:
      sample_weight = self.class_weights[y]
    if sample_weight is None:
      return x, y
    return x, y, _checked_weights(as_array("sample_weight", sample_weight), len(y))

  def tensors(self, *batch: Any) -> Any:
    """Does as `arrays` for a batch of tensors; `(images,)` becomes images."""
    if self.images_only:
      images = batch[0]
      if isinstance(images, Mapping):
        raise ValueError(f"batch of keys {sorted(images)}: must be images, or a tuple of them")
      return self.rules.image_batch(images)
    x, y, sample_weight = unpack_batch(
      batch[0] if len(batch) == 1 else batch, self.rules.target_name
    )
    x, y = self.rules.batch(x, y)
    x = self._divisible(x)
    if self.class_weights is not None:
      if sample_weight is not None:
        raise ValueError("class_weight: must be None for a dataset with sample weights")
      sample_weight = tf.gather(tf.constant(self.class_weights), y)
    if sample_weight is None:
      return x, y
    return x, y, _checked_weight_batch(sample_weight, x)

  def _divisible(self, images: tf.Tensor) -> tf.Tensor:
    """Returns the images; asserts that micro-batches of equal size can share them."""
    if self.micro_batches == 1:
      return images
    if images.shape[0] is not None:
      check_micro_batches(self.micro_batches, images.shape[0])
      return images
    rows = tf.shape(images)[0]
    divisible = tf.debugging.Assert(
      tf.equal(rows % self.micro_batches, 0),
      [f"micro_batches={self.micro_batches}: must divide each batch, got", rows, "images"],
    )
    with tf.control_dependencies([divisible]):
      return tf.identity(images)


def check_micro_batches(micro_batches: int, num_images: int, batch_size: int | None = None) -> None:
  """Checks that micro-batches of equal size can share each batch.

  Args:
    micro_batches: their number.
    num_images: images of all batches.
    batch_size: images of a batch, but perhaps the last; None: there is one batch.

  Raises:
    ValueError: otherwise.

  Example:

  >>> check_micro_batches(4, num_images=40, batch_size=16)
  """
  size = min(batch_size or num_images, num_images)
  for rows in (size, num_images % size if size else 0):
    if rows % micro_batches:
      raise ValueError(f"micro_batches={micro_batches}: must divide each batch, got {rows} images")


class _CheckedPyDataset(keras.utils.PyDataset):
  """A `PyDataset` with checked batches.

  Args:
    dataset: the dataset to read.
    check: checks the parts of a batch and returns them.
  """

  def __init__(self, dataset: keras.utils.PyDataset, check: Callable[..., tuple]):
    super().__init__(
      workers=dataset.workers,
      use_multiprocessing=dataset.use_multiprocessing,
      max_queue_size=dataset.max_queue_size,
    )
    self.dataset = dataset
    self.check = check

  @property
  def num_batches(self) -> int | None:
    """Batches an epoch; None for an endless dataset."""
    return self.dataset.num_batches

  def __getitem__(self, index: int) -> tuple:
    return self.check(*_as_tuple(self.dataset[index]))

  def on_epoch_begin(self) -> None:
    """Forwards the call."""
    self.dataset.on_epoch_begin()

  def on_epoch_end(self) -> None:
    """Forwards the call."""
    self.dataset.on_epoch_end()


def _as_tuple(batch: Any) -> tuple:
  return tuple(batch) if isinstance(batch, tuple | list) else (batch,)


def _class_weights(
  class_weight: Mapping[int, float] | None, rules: InputRules
) -> np.ndarray | None:
  if class_weight is None:
    return None
  if rules.num_classes is None:
    raise ValueError(
      f"class_weight={class_weight!r}: must be None, because {rules.target_name} are not classes; "
      "pass sample_weight"
    )
  weights = np.ones(rules.num_classes, np.float32)
  for label, weight in class_weight.items():
    if not (isinstance(label, int | np.integer) and 0 <= label < rules.num_classes):
      raise ValueError(
        f"class_weight={class_weight!r}: keys must be classes from 0 to {rules.num_classes - 1}"
      )
    weights[label] = weight
  if not (np.isfinite(weights).all() and weights.min() >= 0):
    raise ValueError(f"class_weight={class_weight!r}: weights must be finite and at least 0")
  return weights


_WEIGHT_RULE = "must be finite and at least 0"


def _checked_weights(weights: np.ndarray, count: int) -> np.ndarray:
  if weights.shape not in ((count,), (count, 1)):
    raise ValueError(
      f"sample_weight of shape {weights.shape}: must have shape [B], one weight an image, B={count}"
    )
  weights = weights.astype(np.float32).reshape(-1)
  if weights.size and not (np.isfinite(weights).all() and weights.min() >= 0):
    raise ValueError(
      f"sample_weight: {_WEIGHT_RULE}, got values from {weights.min()} to {weights.max()}"
    )
  return weights


def _checked_weight_batch(weights: tf.Tensor, images: tf.Tensor) -> tf.Tensor:
  weights = tf.reshape(tf.cast(weights, tf.float32), [-1])
  finite = tf.reduce_all(tf.math.is_finite(weights) & (weights >= 0))
  count, wanted = tf.shape(weights)[0], tf.shape(images)[0]
  assertions = [
    tf.debugging.Assert(finite, [f"sample_weight: {_WEIGHT_RULE}"]),
    tf.debugging.Assert(
      tf.equal(count, wanted),
      ["sample_weight: must be one weight an image, got", count, "weights and", wanted, "images"],
    ),
  ]
  with tf.control_dependencies(assertions):
    weights = tf.identity(weights)
  weights.set_shape(images.shape[:1])
  return weights
