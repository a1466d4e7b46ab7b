"""Times the training step, input pipeline included, against its bare matrix products.

  python tests/benchmarks/train_step.py

The bare products are those that the step cannot do without: every weight's product forwards, and
backwards for the weight and, where something upstream learns, for its input. They are timed in the
same process, in turn with the step, as one compiled function and as TensorFlow's own kernels; the
faster of the two is the yardstick. A second table lists every estimator beside the variational one,
the products of its inference network set aside.
"""

import resource
import statistics
import time
from typing import NamedTuple

import keras
import tensorflow as tf
from absl import app, flags

import wsram_tf
from wsram_tf import objectives
from wsram_tf.data import canvases, digits

_UNITS = flags.DEFINE_multi_integer("units", [128, 256], "units of each layer; repeatable")
_BATCH_SIZE = flags.DEFINE_integer("batch_size", 128, "images a step")
_SAMPLES = flags.DEFINE_integer("num_samples", 5, "glimpse sequences an image")
_STEPS = flags.DEFINE_integer("steps", 40, "steps in each timed round")
_ROUNDS = flags.DEFINE_integer("rounds", 7, "timed rounds; the median is reported")
_ESTIMATOR_UNITS = flags.DEFINE_integer(
  "estimator_units", 128, "units in the table of all estimators; 0: no such table"
)
_JIT_COMPILE = flags.DEFINE_bool("jit_compile", True, "compile the step with XLA")


class Product(NamedTuple):
  """So many products [rows, inputs] x [inputs, outputs] forwards, and what follows backwards."""

  times: int
  rows: int
  inputs: int
  outputs: int
  inputs_learn: bool = True

  def shapes(self) -> list[tuple[int, int, int]]:
    """Shapes (a, b, c) of every product [a, b] x [b, c]: forwards, for the weight, the input."""
    shapes = [
      (self.rows, self.inputs, self.outputs),
      (self.inputs, self.rows, self.outputs),
      (self.rows, self.outputs, self.inputs),
    ]
    return shapes[: 3 if self.inputs_learn else 2] * self.times


def prediction_products(config: wsram_tf.ModelConfig, batch: int, samples: int) -> list[Product]:
  """Those of the prediction network, dense glimpse network."""
  rows, steps, units = batch * samples, config.num_glimpses, config.units
  glimpse = config.glimpse
  patch = glimpse.glimpse_scales * glimpse.glimpse_side**2 * config.channels
  context = config.context_side**2 * config.channels
  return [
    Product(1, batch, context, units, inputs_learn=False),
    Product(1, batch, units, 2 * units),
    Product(steps, rows, patch, units, inputs_learn=False),
    Product(steps, rows, 2, units, inputs_learn=False),
    Product(steps, rows, units, 4 * units),  # Lower layer, from the glimpse.
    Product(steps - 1, rows, units, 4 * units),  # Lower layer, from its own state.
    Product(2 * (steps - 1), rows, units, 4 * units),  # Upper layer; nobody reads its last step.
    Product(steps, rows, units, 2),
    Product(1, rows, units, config.num_classes),
  ]


def inference_products(config: wsram_tf.ModelConfig, batch: int, samples: int) -> list[Product]:
  """Those of the inference network."""
  rows, steps, units = batch * samples, config.num_glimpses, config.units
  return [
    Product(steps, rows, units + config.num_classes, units, inputs_learn=False),
    Product(steps, rows, units, 2),
  ]


def make_products(products: list[Product], jit_compile: bool):
  """A function without arguments that computes all products, each from factors of its own."""
  shapes = [shape for product in products for shape in product.shapes()]
  factors = [(tf.random.normal([a, b]), tf.random.normal([b, c])) for a, b, c in shapes]

  @tf.function(jit_compile=jit_compile)
  def compute(factors):
    return [tf.matmul(left, right) for left, right in factors]

  return lambda: compute(factors)[-1].numpy()


def time_step(
  units: int, estimator: str, train: digits.Digits, products: list[Product]
) -> tuple[float, float, float]:
  """Medians in milliseconds: of a step as trained, its bare products, a batch of the pipeline."""
  batch, steps = _BATCH_SIZE.value, _STEPS.value
  config = wsram_tf.ModelConfig(units=units)
  objective = wsram_tf.ObjectiveConfig(estimator=estimator, num_samples=_SAMPLES.value)
  learner = wsram_tf.WakeSleepLearner(config, objective, seed=1)
  learner.compile(
    keras.optimizers.Adam(1e-3), jit_compile=_JIT_COMPILE.value, steps_per_execution=steps
  )
  data = canvases.canvas_dataset(
    train,
    canvas_shape=(config.height, config.width),
    smallest_digit=14,
    largest_digit=56,
    batch_size=batch,
    seed=1,
  )
  bare = [make_products(products, jit_compile=True), make_products(products, jit_compile=False)]
  for compute in bare:
    compute()
  product_times = [[], []]

  def time_products() -> None:
    for times, compute in zip(product_times, bare, strict=True):
      start = time.perf_counter()
      for _ in range(10):
        compute()
      times.append((time.perf_counter() - start) / 10 * 1e3)

  timer = _Timer(time_products)
  learner.fit(data, steps_per_epoch=steps, epochs=_ROUNDS.value + 1, verbose=0, callbacks=[timer])
  step = statistics.median(seconds / steps * 1e3 for seconds in timer.seconds[1:])
  product = min(statistics.median(times[1:]) for times in product_times)
  pipeline, pipeline_times = iter(data), []
  for _ in range(steps):
    start = time.perf_counter()
    next(pipeline)
    pipeline_times.append((time.perf_counter() - start) * 1e3)
  return step, product, statistics.median(pipeline_times)


def print_sizes(train: digits.Digits) -> None:
  """One row a model size, wake-sleep."""
  print("units  images/s  sequences/s  step ms  pipeline ms  products ms  ratio  peak memory GB")
  batch, samples = _BATCH_SIZE.value, _SAMPLES.value
  for units in _UNITS.value:
    config = wsram_tf.ModelConfig(units=units)
    products = prediction_products(config, batch, samples) + inference_products(
      config, batch, samples
    )
    step, product, pipeline = time_step(units, "wake_sleep", train, products)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(
      f"{units:5d}  {batch / step * 1e3:8.0f}  {batch * samples / step * 1e3:11.0f}  "
      f"{step:7.1f}  {pipeline:11.2f}  {product:11.1f}  {step / product:5.2f}  {peak:14.2f}",
      flush=True,
    )


def print_estimators(train: digits.Digits) -> None:
  """One row an estimator: its step less its inference network's products, beside variational's."""
  units = _ESTIMATOR_UNITS.value
  config = wsram_tf.ModelConfig(units=units)
  inference = inference_products(config, _BATCH_SIZE.value, _SAMPLES.value)
  print(f"{units} units{' ' * 41}step ms  inference's products ms  rest / variational's")
  names = ["variational", *(name for name in objectives.ESTIMATORS if name != "variational")]
  variational = 0.0
  for name in names:
    step, product, _ = time_step(units, name, train, inference)
    if not objectives.ESTIMATORS[name].inference_loss:
      product = 0.0
    variational = variational or step
    print(
      f"{name:48s}  {step:7.1f}  {product:23.1f}  {(step - product) / variational:20.2f}",
      flush=True,
    )


def main(_) -> None:
  """Prints both tables."""
  devices = [device.name for device in tf.config.list_physical_devices()]
  print(f"TensorFlow {tf.__version__}, devices: {devices}")
  train = digits.load_digits("mnist5k", num_validation=400).train
  print_sizes(train)
  if _ESTIMATOR_UNITS.value:
    print_estimators(train)


class _Timer(keras.callbacks.Callback):
  """Times each execution of `steps_per_execution` steps, and what is run in turn with it.

  The first execution compiles.
  """

  def __init__(self, in_turn):
    super().__init__()
    self.seconds = []
    self.in_turn = in_turn

  def on_train_batch_begin(self, batch, logs=None):
    self.start = time.perf_counter()

  def on_train_batch_end(self, batch, logs=None):
    self.seconds.append(time.perf_counter() - self.start)
    self.in_turn()


if __name__ == "__main__":
  app.run(main)
