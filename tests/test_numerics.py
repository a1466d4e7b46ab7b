"""Arithmetic on log-weights, against exact arithmetic, in every mode."""

import numpy as np
import tensorflow as tf

from tests.support.models import enumeration
from wsram_tf import numerics

_INF = np.inf
# Ordinary, extreme, equal and zero weights, side by side on the batch axis.
_LOG_WEIGHTS = np.array(
  [
    [0.5, 1e3, -1e3, 1e3, 7.0, -_INF, -_INF, 1e3, 0.0],
    [-1.5, -1e3, -1e3, 999.0, 7.0, 0.25, -_INF, -_INF, -745.0],
    [2.0, 0.0, -999.0, 1e3, 7.0, -2.0, -_INF, -1e3, -1e3],
  ]
)
# By hand: each column's largest value is taken out.
_LOG_MEAN_EXP = np.array(
  [
    np.log((np.exp(0.5) + np.exp(-1.5) + np.exp(2.0)) / 3),
    1e3 - np.log(3),
    -1e3 + np.log((2 + np.e) / 3),
    1e3 + np.log((2 + np.exp(-1)) / 3),
    7.0,
    np.log((np.exp(0.25) + np.exp(-2)) / 3),
    -_INF,
    1e3 - np.log(3),
    -np.log(3),
  ]
)


def _effective_sample_size_of_log_weights(log_weights: tf.Tensor) -> tf.Tensor:
  return numerics.effective_sample_size(numerics.normalize_log_weights(log_weights))


class NumericsTest(tf.test.TestCase):
  def test_log_mean_exp(self):
    for dtype, tolerance in ((tf.float32, 1e-6), (tf.float64, 1e-14)):
      result = numerics.log_mean_exp(tf.constant(_LOG_WEIGHTS, dtype))
      self.assertEqual(result.dtype, dtype)
      self.assertAllClose(result, _LOG_MEAN_EXP, rtol=tolerance, atol=tolerance)

  def test_normalize_log_weights(self):
    exact = enumeration.exact_normalized_weights(_LOG_WEIGHTS)
    for dtype, tolerance in ((tf.float32, 1e-6), (tf.float64, 1e-14)):
      result = numerics.normalize_log_weights(tf.constant(_LOG_WEIGHTS, dtype))
      self.assertEqual(result.dtype, dtype)
      self.assertAllClose(result, exact, rtol=0, atol=tolerance)
      self.assertAllClose(tf.reduce_sum(result, axis=0), np.ones(9), rtol=0, atol=tolerance)

  def test_categories_invert_the_distribution_function(self):
    # Few categories, and more than are added up one by one.
    for count in (7, 513, 1007, 4096):
      generator = np.random.default_rng(count)
      probabilities = generator.random([3, 50, count]) ** 8
      probabilities[..., ::3] = probabilities[:, :5, -(count // 7) :] = 0.0
      uniforms = generator.random([3, 50])
      uniforms[:, 0], uniforms[:, 1] = 2.0**-24, 1.0 - 2.0**-24
      below = np.cumsum(probabilities, axis=-1)
      exact = np.sum(below / below[..., -1:] <= uniforms[..., np.newaxis], axis=-1)
      for function in (
        numerics.sample_categories,
        tf.function(numerics.sample_categories),
        tf.function(numerics.sample_categories, jit_compile=True),
      ):
        drawn = function(tf.constant(probabilities), tf.constant(uniforms))
        self.assertAllEqual(drawn, exact)
        self.assertEqual(drawn.dtype, tf.int32)

  def test_no_category_of_probability_0_is_drawn(self):
    ends = tf.constant([0.0, 2.0**-24, 0.5, 1.0 - 2.0**-24])
    for count in (600, 1_000_000):
      for places in ([0], [count - 1], [count // 2, count // 2 + 1], [1, count - 2]):
        probabilities = np.zeros([4, count], np.float32)
        probabilities[:, places] = 1e-30
        drawn = numerics.sample_categories(tf.constant(probabilities), ends)
        self.assertAllEqual(drawn, [places[0], places[0], places[-1], places[-1]])
    # So near the end of the third block that its part of the block rounds to 1.
    blocks = np.zeros([1, 25, 25], np.float32)
    blocks[0, :5, 0] = [3.5216453e-04, 1.5176932e-02, 3.2625925e-02, 2.3101110e-07, 1.9993482e-03]
    number = tf.constant([float.fromhex("0x1.eb966p-1")])
    drawn = numerics.sample_categories(tf.constant(blocks.reshape([1, 625])), number)
    self.assertAllEqual(drawn, [50])

  def test_zero_weights(self):
    weights = numerics.normalize_log_weights(tf.constant([[-_INF, -_INF], [-_INF, -1e3]]))
    self.assertAllEqual(weights, [[0.5, 0.0], [0.5, 1.0]])

  def test_oracle_is_naive_numpy_where_that_works(self):
    log_weights = _LOG_WEIGHTS[:, [0, 4, 5]]
    weights = np.exp(log_weights)
    self.assertAllClose(
      enumeration.exact_normalized_weights(log_weights),
      weights / weights.sum(axis=0),
      rtol=0,
      atol=1e-15,
    )

  def test_effective_sample_size(self):
    weights = np.array(
      [[1.0, 0.25, 0.5, 0.4], [0, 0.25, 0.5, 0.3], [0, 0.25, 0, 0.2], [0, 0.25, 0, 0.1]]
    )
    for dtype in (tf.float32, tf.float64):
      result = numerics.effective_sample_size(tf.constant(weights, dtype))
      self.assertEqual(result.dtype, dtype)
      self.assertAllClose(result, [1.0, 4.0, 2.0, 1 / 0.3], rtol=1e-6)

  def test_effective_sample_size_lies_between_one_and_m(self):
    for dtype in (tf.float32, tf.float64):
      result = _effective_sample_size_of_log_weights(tf.constant(_LOG_WEIGHTS, dtype))
      self.assertAllInRange(result, 1.0 - 1e-6, 3.0 + 1e-6)

  def test_keep_further_axes(self):
    log_weights = _LOG_WEIGHTS[:, :6].reshape(3, 2, 3)
    for function in (
      numerics.log_mean_exp,
      numerics.normalize_log_weights,
      numerics.effective_sample_size,
    ):
      flat = function(tf.constant(_LOG_WEIGHTS[:, :6])).numpy()
      self.assertAllEqual(function(tf.constant(log_weights)), flat.reshape(*flat.shape[:-1], 2, 3))

  def test_agree_in_every_mode_and_with_unknown_shapes(self):
    def everything(log_weights: tf.Tensor) -> dict[str, tf.Tensor]:
      functions = (
        numerics.log_mean_exp,
        numerics.normalize_log_weights,
        _effective_sample_size_of_log_weights,
      )
      return {function.__name__: function(log_weights) for function in functions}

    for dtype, tolerance in ((tf.float32, 1e-6), (tf.float64, 1e-14)):
      log_weights = tf.constant(_LOG_WEIGHTS, dtype)
      expected = everything(log_weights)
      for shape, compiled in (
        ([3, 9], True),
        ([3, None], False),
        ([None, None], False),
        ([None, None], True),
      ):
        traced = tf.function(
          everything,
          input_signature=[tf.TensorSpec(shape, dtype)],
          jit_compile=compiled,
          autograph=False,
        )
        for name, found in traced(log_weights).items():
          with self.subTest(name, shape=shape, compiled=compiled):
            self.assertAllClose(found, expected[name], rtol=tolerance, atol=tolerance)
