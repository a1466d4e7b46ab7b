"""Times the training step, input pipeline included, against its bare matrix products.

  python tests/benchmarks/train_step.py

The bare products are those that the step cannot do without: every weight's product forwards, and
backwards for the weight and, where something upstream learns, for its input. They are timed in the
same process, in turn with the step, as one compiled function and as TensorFlow's own kernels; the
faster of the two is the yardstick.
"""

import resource
import statistics
import time

import keras
import tensorflow as tf
from absl import app, flags

import wsram_tf
from wsram_tf.data import canvases, digits

_UNITS = flags.DEFINE_multi_integer("units", [128, 256], "units of each layer; repeatable")
_BATCH_SIZE = flags.DEFINE_integer("batch_size", 128, "images a step")
_SAMPLES = flags.DEFINE_integer("num_samples", 5, "glimpse sequences an image")
_STEPS = flags.DEFINE_integer("steps", 40, "steps in each timed round")
_ROUNDS = flags.DEFINE_integer("rounds", 7, "timed rounds; the median is reported")
_JIT_COMPILE = flags.DEFINE_bool("jit_compile", True, "compile the step with XLA")


def products(config: wsram_tf.ModelConfig, batch: int, samples: int) -> list[tuple[int, int, int]]:
  """Shapes (a, b, c) of every product [a, b] x [b, c] of one step, dense glimpse network."""
  rows, steps, units = batch * samples, config.num_glimpses, config.units
  glimpse = config.glimpse
  patch = glimpse.glimpse_scales * glimpse.glimpse_side**2 * config.channels
  context = config.context_side**2 * config.channels
  parameters = 2
  # (times, rows, inputs, outputs, whether the inputs need a gradient)
  forward = [
    (1, batch, context, units, False),
    (1, batch, units, 2 * units, True),
    (steps, rows, patch, units, False),
    (steps, rows, 2, units, False),
    (steps, rows, units, 4 * units, True),  # lower layer, from the glimpse
    (steps - 1, rows, units, 4 * units, True),  # lower layer, from its own state
    (2 * (steps - 1), rows, units, 4 * units, True),  # upper layer; its last step is never read
    (steps, rows, units, parameters, True),
    (1, rows, units, config.num_classes, True),
    (steps, rows, units + config.num_classes, units, False),
    (steps, rows, units, parameters, True),
  ]
  shapes = []
  for times, n, inputs, outputs, needs_gradient in forward:
    one = [(n, inputs, outputs), (inputs, n, outputs)]
    if needs_gradient:
      one.append((n, outputs, inputs))
    shapes += one * times
  return shapes


def make_products(shapes: list[tuple[int, int, int]], jit_compile: bool):
  """A function without arguments that computes all products, each from factors of its own."""
  factors = [(tf.random.normal([a, b]), tf.random.normal([b, c])) for a, b, c in shapes]

  @tf.function(jit_compile=jit_compile)
  def compute(factors):
    return [tf.matmul(left, right) for left, right in factors]

  return lambda: compute(factors)[-1].numpy()


def measure(units: int, train: digits.Digits) -> None:
  """Prints one row for a model of `units` units."""
  batch, samples, steps = _BATCH_SIZE.value, _SAMPLES.value, _STEPS.value
  config = wsram_tf.ModelConfig(units=units)
  learner = wsram_tf.WakeSleepLearner(config, wsram_tf.ObjectiveConfig(num_samples=samples), seed=1)
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
  shapes = products(config, batch, samples)
  bare = [make_products(shapes, jit_compile=True), make_products(shapes, jit_compile=False)]
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
  peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
  print(
    f"{units:5d}  {batch / step * 1e3:8.0f}  {batch * samples / step * 1e3:11.0f}  {step:7.1f}  "
    f"{statistics.median(pipeline_times):11.2f}  {product:11.1f}  {step / product:5.2f}  "
    f"{peak:14.2f}",
    flush=True,
  )


def main(_) -> None:
  """Prints one row a model size."""
  devices = [device.name for device in tf.config.list_physical_devices()]
  print(f"TensorFlow {tf.__version__}, devices: {devices}")
  print("units  images/s  sequences/s  step ms  pipeline ms  products ms  ratio  peak memory GB")
  train = digits.load_digits("mnist5k", num_validation=400).train
  for units in _UNITS.value:
    measure(units, train)


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
