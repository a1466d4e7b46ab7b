"""Several devices and workers: agreement with one process, TF_CONFIG, and the chief."""

import json
import os
import pathlib
import types
import unittest
from unittest import mock

import tensorflow as tf

import wsram_tf
from tests.conformance import two_workers
from tests.support import programs, small_runs
from wsram_tf import runs
from wsram_tf.runs import distribution

_TASK = {"type": "worker", "index": 0}
_CLUSTER = {"worker": ["a:1", "b:1"]}


class DistributionTest(tf.test.TestCase):
  def test_two_workers_train_as_one_process(self):
    folder = pathlib.Path(self.get_temp_dir())
    settings = (*two_workers.SMALL, *small_runs.CANVASES, "--updates=3")
    workers = two_workers.start_workers(
      *settings, "--micro_batches=2", f"--run_dir={folder / 'two'}"
    )
    small_runs.run_eagerly(self.addCleanup)
    try:
      ending = programs.endings("train_mnist", [*settings, f"--run_dir={folder / 'one'}"])
    finally:
      ended = two_workers.finish(workers, timeout=200)
    self.assertEqual(ending, [programs.TRAINED])
    for code, output in ended:
      self.assertEqual(code, 0, output[-4000:])
    self.assertIn("trained; the chief evaluates and writes the results", ended[1][1])
    one = two_workers.losses(folder / "one")
    self.assertLen(set(one), 3)
    self.assertAllClose(two_workers.losses(folder / "two"), one, rtol=0, atol=1e-4)

  def test_refuses_a_wrong_cluster(self):
    def config(cluster=None, task=None) -> str:
      return json.dumps({"cluster": cluster or _CLUSTER, "task": task or _TASK})

    run_dir = pathlib.Path(self.get_temp_dir()) / "no"
    for text, message in (
      ("", "the environment variable TF_CONFIG must list the workers"),
      ("{", "must be JSON, for example"),
      (json.dumps({"cluster": _CLUSTER}), "must be JSON, for example"),
      (config({"worker": ["a:1"], "ps": ["b:1"]}), "its cluster must hold workers"),
      (
        config(task={"type": "worker", "index": 2}),
        "its task must be part of its cluster; got worker 2",
      ),
      (
        config(task={"type": "chief", "index": 0}),
        "its task must be part of its cluster; got chief 0",
      ),
      (config({"worker": ["a:1", "a:1"]}), "the addresses of the workers must differ"),
    ):
      with (
        self.subTest(message),
        mock.patch.dict(os.environ, {"TF_CONFIG": text}),
        self.assertRaisesRegex(ValueError, message),
      ):
        runs.train(
          small_runs.array_task(), run_dir, wsram_tf.TrainingConfig(strategy="multi_worker")
        )
    self.assertFalse(run_dir.exists())
    (ending,) = programs.endings("train_mnist", ["--strategy=multi_worker"])
    self.assertIn("strategy=multi_worker: needs --run_dir", ending)

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

  def test_the_replicas_must_share_a_batch_equally(self):
    strategy = tf.distribute.MirroredStrategy(["CPU:0"])
    distribution.Cluster(strategy, True).check_batch_size(7)
    strategy = types.SimpleNamespace(num_replicas_in_sync=2)
    cluster = distribution.Cluster(strategy, True)
    with self.assertRaisesRegex(ValueError, "batch_size=7: must be a multiple of the 2 replicas"):
      cluster.check_batch_size(7)
    cluster.check_batch_size(12, micro_batches=3)
    message = "micro_batches=4: must divide the 6 images of a device"
    with self.assertRaisesRegex(ValueError, message):
      cluster.check_batch_size(12, micro_batches=4)


if __name__ == "__main__":
  unittest.main()
