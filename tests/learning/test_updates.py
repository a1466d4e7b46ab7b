"""An update from parts of a batch: micro-batches, and the rows of replicas."""

import types
import unittest
from unittest import mock

import keras
import numpy as np
import tensorflow as tf

import wsram_tf
from tests.keras_conventions import learners
from tests.support.models import caption_toy
from wsram_tf.learning import updates

_ROWS = 6


def _caption_learner(micro_batches: int) -> wsram_tf.CaptionLearner:
  learner = caption_toy.learner("wake_sleep_prior", dropout=0.5, max_words=2)
  learner.micro_batches = micro_batches
  return learner


def _learner(micro_batches: int) -> wsram_tf.WakeSleepLearner:
  keras.utils.set_random_seed(1)
  # The sleep phase draws further random numbers.
  objective = wsram_tf.ObjectiveConfig(num_samples=2, inference_phase="mix")
  return wsram_tf.WakeSleepLearner(learners.MODEL, objective, seed=3, micro_batches=micro_batches)


class MicroBatchesTest(tf.test.TestCase):
  def _check(self, make, counts, *rows):
    found = {}
    for count in (1, *counts):
      learner = make(count)
      learner.compile("sgd", metrics=["accuracy"] if learner.input_rules.num_classes else None)
      differentiate = tf.function(learner.differentiate, autograph=False)
      update = differentiate(*rows)
      sums = update.with_sums(learner.network_variables())
      found[count] = (update.losses, sums.gradients, sums.with_means().figures, update.log_probs)
    for group in sums.gradients.values():  # Else equal gradients would mean little.
      self.assertGreater(tf.linalg.global_norm(group), 1e-3)
    for count in counts:
      for expected, other in zip(found[1], found[count], strict=True):
        tf.nest.map_structure(
          lambda one, two: self.assertAllClose(one, two, rtol=1e-5, atol=1e-6),
          # The sums of weights of scalars count micro-batches.
          _without_weights(expected),
          _without_weights(other),
        )

  def test_an_update_of_micro_batches_is_that_of_the_batch(self):
    images, labels = map(tf.constant, learners.make_data(_ROWS))
    weights = tf.linspace(0.5, 3.0, _ROWS)
    self._check(_learner, (2, 6), images, labels, weights)

  def test_an_update_of_caption_micro_batches_is_that_of_the_batch(self):
    images = tf.constant(caption_toy.grids(_ROWS))
    captions = tf.constant(np.tile(caption_toy.CAPTIONS[[1, 2, 2], :2], [2, 1]))
    self._check(_caption_learner, (3,), images, captions)


def _without_weights(tree):
  if not isinstance(tree, dict):
    return tree
  return {name: one[0] if isinstance(one, tuple) else one for name, one in tree.items()}


class FitTest(tf.test.TestCase):
  def test_fit_trains_on_micro_batches_compiled_or_not(self):
    images, labels = learners.make_data(_ROWS)
    expected = None
    eager = {"run_eagerly": True, "jit_compile": False}
    for count, arguments in ((1, eager), (3, eager), (3, {"jit_compile": True})):
      learner = _learner(count)
      learner.compile(keras.optimizers.SGD(0.1), metrics=["accuracy"], **arguments)
      history = learner.fit(images, labels, batch_size=_ROWS, verbose=0, shuffle=False).history
      found = (learner.get_weights(), history)
      expected = expected or found
      self.assertAllClose(found, expected, rtol=1e-5, atol=1e-6)
    self.assertEqual(learner.get_config()["micro_batches"], 3)

  def test_refuses_batches_that_micro_batches_cannot_share(self):
    with self.assertRaisesRegex(ValueError, "micro_batches=0: must be"):
      _learner(0)
    images, labels = learners.make_data(_ROWS)
    learner = _learner(4)
    learner.compile("sgd", run_eagerly=True, jit_compile=False)
    before = learner.get_weights()
    dataset = tf.data.Dataset.from_tensor_slices((images, labels))
    message = "micro_batches=4: must divide each batch, got"
    for got, data, arguments in (
      ("6 images", (images, labels), {}),
      ("2 images", (images, labels), {"batch_size": 4}),
      ("3 images", (images, labels), {"batch_size": 4, "validation_split": 0.5}),
      ("6 images", (dataset.batch(6, drop_remainder=True),), {}),
      ("6. .images", (dataset.batch(6),), {}),
      ("2 images", (learners.Batches(images[4:], labels[4:]),), {}),
      ("2 images", (learners.make_generator(images[4:], labels[4:]),), {}),
    ):
      with (
        self.subTest(f"{got} {arguments}"),
        self.assertRaisesRegex(
          (ValueError, tf.errors.InvalidArgumentError), message + ".{1,3}" + got
        ),
      ):
        learner.fit(*data, verbose=0, **arguments)
    for update in (learner.train_on_batch, learner.differentiate):
      with self.assertRaisesRegex(ValueError, message + " 6 images"):
        update(images, labels)
    self.assertAllClose(learner.get_weights(), before, rtol=0, atol=0)
    # An evaluation has no micro-batches.
    learner.evaluate(images, labels, batch_size=5, verbose=0)


class RowsTest(tf.test.TestCase):
  def test_each_replica_and_micro_batch_has_its_own_rows(self):
    # Of two processes with two devices each, which cannot run without GPUs.
    rows, numbers = tf.range(6), tf.range(12)[tf.newaxis]
    for replica, own, of_all in ((0, [0, 1, 2], [0, 1, 2]), (3, [3, 4, 5], [9, 10, 11])):
      context = types.SimpleNamespace(num_replicas_in_sync=4, replica_id_in_sync_group=replica)
      with mock.patch.object(tf.distribute, "get_replica_context", lambda context=context: context):
        self.assertAllEqual(updates.rows_of_replica(rows, among=2), own)
        self.assertAllEqual(updates.rows_of_replica(rows, among=1), rows)
        self.assertAllEqual(updates.own_rows(numbers, axis=1), [of_all])
        found = []

        def differentiate(images, found=found):
          found.append((updates.num_parts(), images, updates.own_rows(tf.range(12))))
          return updates.Update({}, {}, {})

        with mock.patch.object(updates, "_add_up", lambda compute, count, _: compute(count - 1)):
          updates.mean_over_micro_batches(differentiate, [tf.constant(own)], 3, {})
        ((parts, images, last),) = found
        self.assertEqual(parts, 12)
        self.assertAllEqual(images, own[2:])
        self.assertAllEqual(last, of_all[2:])
    self.assertEqual(updates.num_parts(), 1)


if __name__ == "__main__":
  unittest.main()
