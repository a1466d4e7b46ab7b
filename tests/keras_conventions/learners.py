"""A small classification learner, and its data in the forms that Keras takes."""

import functools

import keras
import numpy as np
import tensorflow as tf

import wsram_tf

MODEL = wsram_tf.ModelConfig(
  height=12,
  width=14,
  num_classes=3,
  units=4,
  cell="relu",  # Of the fewest operations.
  num_glimpses=1,
  context_side=4,
  glimpse=wsram_tf.GlimpseConfig(glimpse_side=5, glimpse_scales=1),
)
COUNT = 6  # A batch of 4 and a smaller one.


def make_learner(estimator: str = "variational", **compile_arguments) -> wsram_tf.WakeSleepLearner:
  keras.utils.set_random_seed(1)
  # Eager steps take far less time than their tracing would.
  compile_arguments = {"jit_compile": False, "run_eagerly": True, **compile_arguments}
  learner = wsram_tf.WakeSleepLearner(MODEL, wsram_tf.ObjectiveConfig(estimator, num_samples=2))
  learner.compile(keras.optimizers.SGD(0.1), **compile_arguments)
  return learner


def make_data(count: int = COUNT) -> tuple[np.ndarray, np.ndarray]:
  images = np.random.default_rng(0).random([count, *MODEL.image_shape], np.float32)
  return images, np.arange(count, dtype=np.int32) % MODEL.num_classes


def fitted_weights(*data, **arguments) -> list[np.ndarray]:
  """Returns the weights after one epoch in the order of the data."""
  learner = make_learner()
  learner.fit(*data, **{"shuffle": False, "verbose": 0, **arguments})
  return [variable.numpy() for variable in learner.trainable_variables]


@functools.cache
def expected_weights() -> list[np.ndarray]:
  return fitted_weights(*make_data(), batch_size=4)


class Batches(keras.utils.PyDataset):
  """Batches of 4 from arrays."""

  def __init__(self, *arrays: np.ndarray):
    super().__init__()
    self.arrays = arrays
    self.epochs_ended = 0

  def __len__(self) -> int:
    return -(-len(self.arrays[0]) // 4)

  def __getitem__(self, index: int) -> tuple:
    return tuple(array[4 * index : 4 * index + 4] for array in self.arrays)

  def on_epoch_end(self) -> None:
    self.epochs_ended += 1


def make_generator(*arrays: np.ndarray):
  batches = Batches(*arrays)
  return (batches[index] for index in range(len(batches)))


def make_dataset(*arrays: np.ndarray) -> tf.data.Dataset:
  return tf.data.Dataset.from_tensor_slices(arrays).batch(4)
