"""The finished runs that the docs publish belong to the experiments as they are now."""

import pathlib

import tensorflow as tf

from wsram_tf.paper import experiments, finished

_FILE = pathlib.Path(__file__).parents[2] / "docs" / "results" / "paper_runs.jsonl"
_GROUPS = {group.name: group for group, _ in experiments.EXPERIMENTS.values()}


class PublishedRunsTest(tf.test.TestCase):
  def test_each_has_the_flags_and_the_length_of_its_experiment(self):
    runs = finished.read_file(_FILE)
    self.assertLen({run.key for run in runs}, len(runs))
    for run in runs:
      with self.subTest(run.key):
        group = _GROUPS[run.group]
        self.assertEqual(list(run.flags), experiments.flags_of(group, run.method, "full"))
        self.assertIn(run.seed, group.seeds["full"])
        self.assertLen(run.rows, group.evaluations)
        self.assertEqual(run.rows[-1]["update"], group.updates["full"])


if __name__ == "__main__":
  tf.test.main()
