"""What benchmarks share: a step in turn with its bare products, and processes of their own."""

import concurrent.futures
import multiprocessing
import resource
import statistics
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import tensorflow as tf

__all__ = ["Product", "StepFigures", "in_own_process", "peak_gigabytes", "time_step"]


class Product(NamedTuple):
  """So many products [rows, inputs] x [inputs, outputs] forwards, and what follows backwards.

  Each may stand for `at_once` such products that are made together.
  """

  times: int
  rows: int
  inputs: int
  outputs: int
  inputs_learn: bool = True
  at_once: int = 1

  def shapes(self) -> list[tuple[int, int, int, int]]:
    """Shapes (n, a, b, c) of n products [a, b] x [b, c]: forwards, for the weight, the input."""
    shapes = [
      (self.at_once, self.rows, self.inputs, self.outputs),
      (self.at_once, self.inputs, self.rows, self.outputs),
      (self.at_once, self.rows, self.outputs, self.inputs),
    ]
    return shapes[: 3 if self.inputs_learn else 2] * self.times


class StepFigures(NamedTuple):
  """What a step takes.

  Attributes:
    step: milliseconds of a step as trained, the median.
    products: of its bare products.
    pipeline: of a batch of the input pipeline.
    gigabytes: the most memory that the process has held after the first steps, before the factors
      of the bare products were made.
  """

  step: float
  products: float
  pipeline: float
  gigabytes: float


def time_step(
  learner: keras.Model, data: tf.data.Dataset, products: list[Product], steps: int, rounds: int
) -> StepFigures:
  """Trains in rounds, in turn with the bare products.

  Args:
    learner: compiled with `steps_per_execution` as many as `steps`.
    data: endless batches.
    products: what the step cannot do without.
    steps: in each timed round.
    rounds: timed; one more before compiles.
  """
  bare, product_times, gigabytes = [], [[], []], []

  def time_products() -> None:
    if not bare:
      gigabytes.append(peak_gigabytes())
      bare.extend(_make_products(products, jit_compile) for jit_compile in (True, False))
      for compute in bare:
        compute()
    for times, compute in zip(product_times, bare, strict=True):
      start = time.perf_counter()
      for _ in range(10):
        compute()
      times.append((time.perf_counter() - start) / 10 * 1e3)

  timer = _Timer(time_products)
  learner.fit(data, steps_per_epoch=steps, epochs=rounds + 1, verbose=0, callbacks=[timer])
  step = statistics.median(seconds / steps * 1e3 for seconds in timer.seconds[1:])
  product = min(statistics.median(times[1:]) for times in product_times)
  pipeline, pipeline_times = iter(data), []
  for _ in range(steps):
    start = time.perf_counter()
    next(pipeline)
    pipeline_times.append((time.perf_counter() - start) * 1e3)
  return StepFigures(step, product, statistics.median(pipeline_times), gigabytes[0])


def peak_gigabytes() -> float:
  """The most memory that this process has held."""
  return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def in_own_process(function: Callable, *arguments: Any) -> Any:
  """Runs a function in a fresh process and returns what it returns.

  Raises:
    BrokenProcessPool: if the process was killed.
  """
  context = multiprocessing.get_context("spawn")
  with concurrent.futures.ProcessPoolExecutor(1, mp_context=context) as pool:
    return pool.submit(function, *arguments).result()


def _make_products(products: list[Product], jit_compile: bool) -> Callable[[], object]:
  """A function without arguments that computes all products, each from factors of its own."""
  shapes = [shape for product in products for shape in product.shapes()]
  factors = [
    (tf.random.normal([n, a, b][n == 1 :]), tf.random.normal([n, b, c][n == 1 :]))
    for n, a, b, c in shapes
  ]

  @tf.function(jit_compile=jit_compile)
  def compute(factors):
    return [tf.matmul(left, right) for left, right in factors]

  return lambda: compute(factors)[-1].numpy()


class _Timer(keras.callbacks.Callback):
  """Times each execution of `steps_per_execution` steps, and what is run in turn with it.

  The first execution compiles.
  """

  def __init__(self, in_turn: Callable[[], None]):
    super().__init__()
    self.seconds = []
    self.in_turn = in_turn

  def on_train_batch_begin(self, batch, logs=None):
    self.start = time.perf_counter()

  def on_train_batch_end(self, batch, logs=None):
    self.seconds.append(time.perf_counter() - self.start)
    self.in_turn()
