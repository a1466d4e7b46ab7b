"""Times the training step, input pipeline included, against its bare matrix products.

  python -m tests.benchmarks.train_step

The bare products are those that the step cannot do without: every weight's product forwards, and
backwards for the weight and, where something upstream learns, for its input. They are timed in the
same process, in turn with the step, as one compiled function and as TensorFlow's own kernels; the
faster of the two is the yardstick. A second table lists every estimator beside the variational one,
the products of its inference network set aside.

  python -m tests.benchmarks.train_step --choose_scale

times the step of a model that chooses one of three scales, in turn with the step of the same model
with all three scales at once; on one batch in memory, without input pipeline. With
`--units=128 --chosen_glimpse=3x18 --glimpse_filters=8,8 --context_side=24 --nojit_compile` it is
the model of the paper's digits, as `reproduce_paper.py` trains it.
"""

import dataclasses
import itertools
import statistics
import time
from collections.abc import Callable

import keras
import tensorflow as tf
from absl import app, flags

import wsram_tf
from tests.benchmarks import timing
from tests.benchmarks.timing import Product
from wsram_tf import objectives
from wsram_tf.data import canvases, digits

_UNITS = flags.DEFINE_multi_integer("units", [128, 256], "units of each layer; repeatable")
_GLIMPSES = flags.DEFINE_multi_string(
  "glimpse", ["2x18"], "scales and side of the patches of a glimpse; repeatable"
)
_BATCH_SIZE = flags.DEFINE_integer("batch_size", 128, "images a step")
_SAMPLES = flags.DEFINE_integer("num_samples", 5, "glimpse sequences an image")
_STEPS = flags.DEFINE_integer("steps", 40, "steps in each timed round")
_ROUNDS = flags.DEFINE_integer("rounds", 7, "timed rounds; the median is reported")
_ESTIMATOR_UNITS = flags.DEFINE_integer(
  "estimator_units", 128, "units in the table of all estimators; 0: no such table"
)
_MICRO_BATCHES = flags.DEFINE_integer("micro_batches", 1, "micro-batches of each batch")
_CHOOSE_SCALE = flags.DEFINE_bool(
  "choose_scale", False, "print only the table of a chosen scale beside all scales at once"
)
_CHOSEN_GLIMPSES = flags.DEFINE_multi_string(
  "chosen_glimpse", ["3x12"], "with --choose_scale: scales and side of the patches; repeatable"
)
_GLIMPSE_FILTERS = flags.DEFINE_list(
  "glimpse_filters", [], "with --choose_scale: filters of each convolution of the glimpse network"
)
_CONTEXT_SIDE = flags.DEFINE_integer(
  "context_side", 12, "with --choose_scale: side of the low-resolution copy of the image"
)
_JIT_COMPILE = flags.DEFINE_bool("jit_compile", True, "compile the step with XLA")


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


def glimpse_config(text: str) -> wsram_tf.GlimpseConfig:
  """Parses a value of --glimpse or --chosen_glimpse."""
  scales, _, side = text.partition("x")
  return wsram_tf.GlimpseConfig(glimpse_scales=int(scales), glimpse_side=int(side))


def time_step(
  config: wsram_tf.ModelConfig, estimator: str, train: digits.Digits, products: list[Product]
) -> timing.StepFigures:
  """Trains a learner of one kind of model and times its step."""
  batch, steps = _BATCH_SIZE.value, _STEPS.value
  objective = wsram_tf.ObjectiveConfig(estimator=estimator, num_samples=_SAMPLES.value)
  learner = wsram_tf.WakeSleepLearner(config, objective, seed=1, micro_batches=_MICRO_BATCHES.value)
  learner.compile(
    keras.optimizers.Adam(1e-3), jit_compile=_JIT_COMPILE.value, steps_per_execution=steps
  )
  data = canvases.canvas_dataset(
    train,
    wsram_tf.CanvasConfig(canvas_side=config.height),
    batch_size=batch,
    seed=1,
  )
  return timing.time_step(learner, data, products, steps, _ROUNDS.value)


def print_sizes(train: digits.Digits) -> None:
  """One row a kind of glimpse and a model size, wake-sleep."""
  # With several rows, memory is that of all so far, with their bare products.
  imports = timing.peak_gigabytes()
  print("glimpse  units  images/s  sequences/s  step ms  pipeline ms  products ms  ratio  ", end="")
  print("peak memory GB  above imports")
  batch, samples = _BATCH_SIZE.value, _SAMPLES.value
  for glimpse, units in itertools.product(_GLIMPSES.value, _UNITS.value):
    config = wsram_tf.ModelConfig(units=units, glimpse=glimpse_config(glimpse))
    products = prediction_products(config, batch, samples) + inference_products(
      config, batch, samples
    )
    step, product, pipeline, peak = time_step(config, "wake_sleep", train, products)
    print(
      f"{glimpse:>7s}  {units:5d}  {batch / step * 1e3:8.0f}  "
      f"{batch * samples / step * 1e3:11.0f}  {step:7.1f}  {pipeline:11.2f}  "
      f"{product:11.1f}  {step / product:5.2f}  {peak:14.2f}  {peak - imports:13.2f}",
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
    step, product, *_ = time_step(config, name, train, inference)
    if not objectives.ESTIMATORS[name].inference_loss:
      product = 0.0
    variational = variational or step
    print(
      f"{name:48s}  {step:7.1f}  {product:23.1f}  {(step - product) / variational:20.2f}",
      flush=True,
    )


def print_chosen_scale(train: digits.Digits) -> None:
  """One row a model: the step with a chosen scale beside the step with all scales."""
  print("glimpse  units  cell  all scales ms  chosen scale ms  ratio")
  for size, units in itertools.product(_CHOSEN_GLIMPSES.value, _UNITS.value):
    for cell in ("lstm", "relu"):
      steps = [_steps_with_scales(size, units, cell, choose, train) for choose in (False, True)]
      times = [[], []]
      for _ in range(_ROUNDS.value + 1):  # The first round compiles.
        for run, seconds in zip(steps, times, strict=True):
          start = time.perf_counter()
          run()
          seconds.append((time.perf_counter() - start) / _STEPS.value * 1e3)
      whole, chosen = (statistics.median(seconds[1:]) for seconds in times)
      ratio = chosen / whole
      print(
        f"{size:>7}  {units:5d}  {cell}  {whole:13.1f}  {chosen:15.1f}  {ratio:5.2f}", flush=True
      )


def _steps_with_scales(
  size: str, units: int, cell: str, choose_scale: bool, train: digits.Digits
) -> Callable[[], object]:
  """Returns a function that runs one round of training steps."""
  glimpse = dataclasses.replace(
    glimpse_config(size),
    glimpse_filters=tuple(map(int, _GLIMPSE_FILTERS.value)),
    choose_scale=choose_scale,
  )
  config = wsram_tf.ModelConfig(
    units=units, cell=cell, glimpse=glimpse, context_side=_CONTEXT_SIDE.value
  )
  objective = wsram_tf.ObjectiveConfig(num_samples=_SAMPLES.value)
  learner = wsram_tf.WakeSleepLearner(config, objective, seed=1)
  learner.compile(
    keras.optimizers.Adam(1e-3),
    jit_compile=_JIT_COMPILE.value,
    steps_per_execution=_STEPS.value,
  )
  canvas = wsram_tf.CanvasConfig(canvas_side=config.height)
  data = canvases.canvas_dataset(train, canvas, batch_size=_BATCH_SIZE.value, seed=1)
  data = iter(data.take(1).cache().repeat())
  learner.make_train_function()
  return lambda: learner.train_function(data)["loss"].numpy()


def main(_) -> None:
  """Prints both tables, or that of the chosen scale."""
  devices = [device.name for device in tf.config.list_physical_devices()]
  print(f"TensorFlow {tf.__version__}, devices: {devices}")
  train = digits.load_digits("mnist5k", num_validation=400).train
  if _CHOOSE_SCALE.value:
    print_chosen_scale(train)
    return
  print_sizes(train)
  if _ESTIMATOR_UNITS.value:
    print_estimators(train)


if __name__ == "__main__":
  app.run(main)
