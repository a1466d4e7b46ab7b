"""Orders of examples: stratified splits, and error messages that stay short."""

import unittest
from typing import NamedTuple

import numpy as np

from wsram_tf.data.orders import first_few, hold_out


class _Examples(NamedTuple):
  labels: np.ndarray
  names: np.ndarray


def _examples(*counts: int) -> _Examples:
  labels = np.repeat(np.arange(len(counts)), counts)
  return _Examples(labels, np.array([f"{label}/{i}" for i, label in enumerate(labels)]))


class HoldOutTest(unittest.TestCase):
  def test_parts_are_disjoint_complete_and_in_proportion(self):
    data = _examples(40, 20)
    kept, held_out = hold_out(data, 15, 1, "count=15")
    self.assertIsInstance(kept, _Examples)
    self.assertEqual(sorted([*kept.names, *held_out.names]), sorted(data.names))
    self.assertEqual(np.bincount(held_out.labels).tolist(), [10, 5])
    for part in (kept, held_out):
      self.assertTrue(all(name.startswith(f"{label}/") for label, name in zip(*part, strict=True)))

  def test_a_smaller_part_begins_a_larger_one(self):
    few, more = (hold_out(_examples(40, 20), count, 1, "count")[1] for count in (7, 20))
    np.testing.assert_array_equal(few.names, more.names[:7])

  def test_names_the_classes_that_keep_no_example(self):
    with self.assertRaisesRegex(
      ValueError,
      r"^percent=90: must leave at least one training example of every class; these classes \(with "
      r"their number of examples\) keep none: b \(1\); add images$",
    ):
      hold_out(
        _examples(40, 1, 2), 40, 1, "percent=90", class_names=("a", "b", "c"), advice="add images"
      )


class FirstFewTest(unittest.TestCase):
  def test_counts_the_names_it_does_not_show(self):
    self.assertEqual(first_few(list("abcde")), "a, b, c, d, e")
    self.assertEqual(first_few(list("abcdef")), "a, b, c, d, e and 1 more")
    self.assertEqual(first_few(["a"], count=1001, most=1), "a and 1,000 more")
    self.assertEqual(first_few([]), "")


if __name__ == "__main__":
  unittest.main()
