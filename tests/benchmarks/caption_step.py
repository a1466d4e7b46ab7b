"""Times the training step on captions, input pipeline included, against its bare matrix products.

  python -m tests.benchmarks.caption_step

Of two models: that of the scenes' flagfile, which makes its grid by convolutions, on scenes; and
one that reads a grid of features, on random features and words, so that no data set is needed. The
bare products are counted as in `train_step.py`; a convolution counts as the product that it is, of
all its windows with its filters.
"""

import keras
import numpy as np
import tensorflow as tf
from absl import app, flags

import wsram_tf
from tests.benchmarks import timing
from tests.benchmarks.timing import Product
from wsram_tf.captions.data import scene_language, scenes
from wsram_tf.data import digits

_MODELS = flags.DEFINE_multi_enum(
  "model", ["scenes", "grid"], ("scenes", "grid"), "which to time; repeatable"
)
_GRID_UNITS = flags.DEFINE_integer("grid_units", 512, "units of the model that reads a grid")
_GRID_SHAPE = flags.DEFINE_multi_integer("grid_shape", [7, 7, 1280], "rows, columns and features")
_BATCH_SIZE = flags.DEFINE_integer("batch_size", 64, "captions a step")
_SAMPLES = flags.DEFINE_integer("num_samples", 4, "glimpse sequences a caption")
_MICRO_BATCHES = flags.DEFINE_integer("micro_batches", 1, "micro-batches of each batch")
_ESTIMATOR = flags.DEFINE_string("estimator", "wake_sleep_equal_likelihood", "what trains")
_STEPS = flags.DEFINE_integer("steps", 10, "steps in each timed round")
_ROUNDS = flags.DEFINE_integer("rounds", 7, "timed rounds; the median is reported")


def grid_products(config: wsram_tf.CaptionModelConfig, batch: int) -> list[Product]:
  """Those that make a grid of images or of features."""
  products, (rows, columns, channels) = [], config.image_shape
  learns = False
  for filters in config.grid_filters:
    products.append(Product(1, batch * rows * columns, 9 * channels, filters, learns))
    rows, columns, channels, learns = rows // 2, columns // 2, filters, True
  window = config.grid_reach**2 * channels
  return [*products, Product(1, batch * rows * columns, window, config.units, learns)]


def sequence_products(
  config: wsram_tf.CaptionModelConfig, batch: int, samples: int
) -> list[Product]:
  """Those of the prediction network after its grid."""
  rows, words, units, keys = batch * samples, config.max_words, config.units, config.location_units
  cells = config.grid_shape[0] * config.grid_shape[1]
  return [
    Product(1, batch * cells, units, keys),
    Product(1, batch, units * config.context_side**2, units),
    Product(1, batch, units, 2 * units),
    Product(words, rows, units, keys),
    Product(words, samples, keys, cells, at_once=batch),
    Product(words, rows, config.word_units + units, 4 * units),  # Lower layer, from its input.
    Product(words - 1, rows, units, 4 * units),  # Lower layer, from its own state.
    Product(2 * (words - 1), rows, units, 4 * units),  # Upper layer; nobody reads its last step.
    Product(1, rows * words, units, config.vocabulary_size),
  ]


def inference_products(
  config: wsram_tf.CaptionModelConfig, batch: int, samples: int
) -> list[Product]:
  """Those of the inference network."""
  rows, words, units, keys = batch * samples, config.max_words, config.units, config.location_units
  cells, embedded = config.grid_shape[0] * config.grid_shape[1], config.word_units
  return [
    Product(2, batch * words, embedded, 3 * embedded),  # The encoder, from its inputs.
    Product(2 * (words - 1), batch, embedded, 3 * embedded),  # The encoder, from its own states.
    Product(words, rows, 2 * embedded + units, units),
    Product(1, batch * cells, units, keys, inputs_learn=False),
    Product(words, rows, units, keys),
    Product(words, samples, keys, cells, at_once=batch),
  ]


def scenes_task(batch: int) -> tuple[wsram_tf.CaptionModelConfig, tf.data.Dataset]:
  """Model and data of the scenes' flagfile."""
  layout = wsram_tf.SceneConfig(48, 11, 13, 19, 24)
  config = wsram_tf.CaptionModelConfig(
    height=layout.canvas_side,
    width=layout.canvas_side,
    grid_reach=1,
    vocabulary_size=len(scene_language.VOCABULARY),
    max_words=scene_language.longest_caption(),
  )
  train = digits.load_digits("mnist5k", num_validation=400).train
  return config, scenes.scene_dataset(train, batch_size=batch, seed=1, **layout.arguments())


def grid_task(batch: int) -> tuple[wsram_tf.CaptionModelConfig, tf.data.Dataset]:
  """A model that reads features, and random features and words."""
  height, width, channels = _GRID_SHAPE.value
  config = wsram_tf.CaptionModelConfig(
    height=height,
    width=width,
    channels=channels,
    grid_filters=(),
    grid_reach=1,
    vocabulary_size=2_539,
    max_words=20,
    units=_GRID_UNITS.value,
    word_units=256,
    location_units=128,
  )
  numbers = np.random.default_rng(1)
  features = numbers.random((batch, *config.image_shape), np.float32)
  captions = numbers.integers(5, config.vocabulary_size, (batch, config.max_words), np.int32)
  return config, tf.data.Dataset.from_tensors((features, captions)).repeat()


def main(_) -> None:
  """Prints one row a model."""
  devices = [device.name for device in tf.config.list_physical_devices()]
  print(f"TensorFlow {tf.__version__}, devices: {devices}")
  print("model   XLA  captions/s  step ms  pipeline ms  products ms  ratio  peak memory GB")
  batch, samples = _BATCH_SIZE.value, _SAMPLES.value
  on_gpu = bool(tf.config.list_physical_devices("GPU"))
  for name in _MODELS.value:
    config, data = {"scenes": scenes_task, "grid": grid_task}[name](batch)
    learner = wsram_tf.CaptionLearner(
      config,
      wsram_tf.ObjectiveConfig(estimator=_ESTIMATOR.value, num_samples=samples),
      micro_batches=_MICRO_BATCHES.value,
    )
    learner.compile(  # As the trainer has it.
      keras.optimizers.Adam(1e-3), jit_compile=on_gpu, steps_per_execution=_STEPS.value
    )
    products = grid_products(config, batch) + sequence_products(config, batch, samples)
    if learner.inference_network:
      products += inference_products(config, batch, samples)
    step, product, pipeline, peak = timing.time_step(
      learner, data, products, _STEPS.value, _ROUNDS.value
    )
    print(
      f"{name:6s}  {'on' if on_gpu else 'off':3s}  {batch / step * 1e3:10.0f}  {step:7.1f}  "
      f"{pipeline:11.2f}  {product:11.1f}  {step / product:5.2f}  {peak:14.2f}",
      flush=True,
    )


if __name__ == "__main__":
  app.run(main)
