"""Measures of curves on examples that can be computed by hand, and the paper's published curves."""

import numpy as np
import tensorflow as tf

from wsram_tf.paper import experiments, measures, published


class MeasuresTest(tf.test.TestCase):
  def test_a_level_is_reached_between_two_points(self):
    x, values = np.array([10.0, 20.0, 30.0, 40.0]), np.array([8.0, 4.0, 5.0, 1.0])
    for level, expected in ((9.0, 10.0), (6.0, 15.0), (4.0, 20.0), (2.0, 37.5), (0.5, None)):
      self.assertEqual(measures.updates_to_reach((x, values), level), expected, level)

  def test_a_method_that_is_k_times_as_fast_has_the_speed_up_k(self):
    x = np.arange(0.0, 101.0)
    slow = (x, np.exp(-x / 20))
    for factor in (0.5, 2.0, 4.0):
      fast = (x, np.exp(-factor * x / 20))
      # One that is slower does not get as far within the same training.
      for fraction in (0.25, 0.5, 1.0) if factor > 1 else (0.25, 0.5):
        found = measures.speed_up(slow, fast, fraction)
        self.assertAllClose(found, factor, rtol=0.03, msg=f"{factor}, {fraction}")
    self.assertIsNone(measures.speed_up(slow, (x, np.full_like(x, 2.0)), 1.0))

  def test_the_speed_up_to_a_level_is_the_ratio_of_the_times(self):
    x = np.array([10.0, 20.0, 30.0, 40.0])
    slow, fast = (x, np.array([8.0, 7.0, 5.0, 3.0])), (x, np.array([8.0, 4.0, 3.5, 2.0]))
    for level, expected in ((6.0, 25 / 15), (4.0, 35 / 20), (3.0, 40 / (30 + 10 / 3))):
      self.assertAllClose(measures.speed_up_to(slow, fast, level), expected, msg=level)
    # Nothing is known about a level that a curve has at its first point, or does not reach.
    for level in (8.0, 2.5, 1.0):
      self.assertIsNone(measures.speed_up_to(slow, fast, level), level)
      self.assertIsNone(measures.speed_up_to(fast, slow, level), level)

  def test_rows_without_a_column_are_left_out(self):
    rows = [{"update": 1, "a": 5.0}, {"update": 2}, {"update": 3, "a": 1.0}]
    x, values = measures.curve_of(rows, "a")
    self.assertAllEqual([x, values], [[1, 3], [5, 1]])

  def test_agreeing_pairs(self):
    first = {"a": 1.0, "b": 2.0, "c": 3.0}
    self.assertEqual(measures.agreeing_pairs(first, first), (3, 3))
    self.assertEqual(measures.agreeing_pairs(first, {"a": 3, "b": 2, "c": 1}), (0, 3))
    self.assertEqual(measures.agreeing_pairs(first, {"a": 0, "c": 1}), (1, 1))


class PublishedTest(tf.test.TestCase):
  def test_curves_end_where_the_text_says(self):
    ends = {
      ("training_error", "VAR"): 0.359,
      ("gradient_variance", "WS-RAM+c"): 0.033,
      ("effective_sample_size", "WS-RAM+q+c"): 4.54,
      ("exploration_training_error", "VAR+c-without-exploration"): 0.103,
      ("exploration_training_error", "WS-RAM+q+c"): 0.058,
      ("caption_negative_log_likelihood", "WS-RAM+q+c"): 36.1,
    }
    last = {"exploration_training_error": 200_000, "caption_negative_log_likelihood": 10_000}
    for (panel, method), value in ends.items():
      updates, values = published.curves(panel)[method]
      self.assertEqual(updates[-1], last.get(panel, 100_000))
      self.assertTrue((np.diff(updates) >= 0).all())
      self.assertAllClose(values[-1], value, rtol=0.02, msg=f"{panel}, {method}")
    with self.assertRaisesRegex(ValueError, "panel='figure9': must be a panel"):
      published.curves("figure9")

  def test_every_published_figure_has_runs(self):
    for name, panel in (("figure2", "training_error"), ("figure3", "exploration_training_error")):
      self.assertEqual(set(experiments.EXPERIMENTS[name][1]), set(published.curves(panel)))
    self.assertLessEqual(set(published.TABLE_1), set(experiments.EXPERIMENTS["table1"][1]))


if __name__ == "__main__":
  tf.test.main()
