"""Two workers and one process agree; what is refused; who is the chief."""

import json
import os
import pathlib
import types
from unittest import mock

import distribution
import tensorflow as tf
import train_mnist
from absl import flags
from absl.testing import flagsaver

from tests.conformance import two_workers

_TASK = {"type": "worker", "index": 0}
_CLUSTER = {"worker": ["a:1", "b:1"]}


def train(*arguments: str) -> None:
  """Runs train_mnist in this process."""
  with flagsaver.flagsaver():
    flags.FLAGS.unparse_flags()
    train_mnist.main(flags.FLAGS(["train_mnist.py", *map(str, arguments)]))


class DistributionTest(tf.test.TestCase):
  def test_two_workers_train_as_one_process(self):
    folder = pathlib.Path(self.get_temp_dir())
    settings = (*two_workers.SMALL, "--updates=3", "--evaluate_every=1")
    workers = two_workers.start_workers(*settings, f"--run_dir={folder / 'two'}")
    try:
      train(*settings, f"--run_dir={folder / 'one'}")
    finally:
      ended = two_workers.finish(workers, timeout=100)
    for code, output in ended:
      self.assertEqual(code, 0, output[-4000:])
    one = two_workers.losses(folder / "one")
    self.assertLen(set(one), 3)
    self.assertAllClose(two_workers.losses(folder / "two"), one, rtol=0, atol=1e-4)

  def test_refuses_a_cluster_that_cannot_be(self):
    def config(cluster=None, task=None) -> str:
      return json.dumps({"cluster": cluster or _CLUSTER, "task": task or _TASK})

    for text, message in (
      ("", "the environment variable TF_CONFIG must say"),
      ("{", "must be JSON like"),
      (json.dumps({"cluster": _CLUSTER}), "must be JSON like"),
      (config({"worker": ["a:1"], "ps": ["b:1"]}), "its cluster must be of workers"),
      (
        config(task={"type": "worker", "index": 2}),
        "its task must be one of its cluster; got worker 2",
      ),
      (
        config(task={"type": "chief", "index": 0}),
        "its task must be one of its cluster; got chief 0",
      ),
      (config({"worker": ["a:1", "a:1"]}), "each worker must have an address of its own"),
    ):
      with (
        self.subTest(message),
        mock.patch.dict(os.environ, {"TF_CONFIG": text}),
        self.assertRaisesRegex(SystemExit, message),
      ):
        train(*two_workers.SMALL, "--strategy=multi_worker", f"--run_dir={self.get_temp_dir()}/no")
    self.assertFalse((pathlib.Path(self.get_temp_dir()) / "no").exists())
    with self.assertRaisesRegex(SystemExit, "strategy=multi_worker: needs --run_dir"):
      train(*two_workers.SMALL, "--strategy=multi_worker")

  def test_the_first_of_the_cluster_is_the_chief(self):
    both = {"chief": ["a:1"], "worker": ["b:1"]}
    for cluster, kind, index, chief in (
      (_CLUSTER, "worker", 0, True),
      (_CLUSTER, "worker", 1, False),
      (both, "chief", 0, True),
      (both, "worker", 0, False),
    ):
      text = json.dumps({"cluster": cluster, "task": {"type": kind, "index": index}})
      with self.subTest(text), mock.patch.dict(os.environ, {"TF_CONFIG": text}):
        self.assertEqual(distribution.is_chief("multi_worker"), chief)
        self.assertTrue(distribution.is_chief("none"))

  def test_a_batch_must_be_shared_equally(self):
    strategy = tf.distribute.MirroredStrategy(["CPU:0"])
    distribution.Cluster(strategy, True).check_batch_size(7)
    strategy = types.SimpleNamespace(num_replicas_in_sync=2)
    with self.assertRaisesRegex(ValueError, "batch_size=7: must be a multiple of the 2 replicas"):
      distribution.Cluster(strategy, True).check_batch_size(7)


if __name__ == "__main__":
  tf.test.main()
