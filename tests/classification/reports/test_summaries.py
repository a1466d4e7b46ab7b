"""What TensorBoard gets of a classifier's training."""

import dataclasses
import pathlib

import numpy as np
import tensorflow as tf
from tensorboard.plugins.hparams import plugin_data_pb2

from tests.support import small_runs
from tests.support.event_files import events_of
from wsram_tf import runs
from wsram_tf.classification import GlimpseConfig, LocationConfig, ModelConfig
from wsram_tf.classification.reports.summaries import GlimpseSummaries, glimpse_tiles
from wsram_tf.config import ObjectiveConfig, OptimizerConfig


class SummariesTest(tf.test.TestCase):
  def test_a_run_logs_each_tag_at_each_evaluation(self):
    small_runs.run_eagerly(self.addCleanup)
    model = ModelConfig(
      units=8, num_glimpses=2, glimpse=GlimpseConfig(glimpse_side=8, choose_scale=True)
    )
    objective = ObjectiveConfig("variational", num_samples=1, stepwise_weight=0.5)
    task = small_runs.digit_task(model=model, objective=objective)
    run_dir = pathlib.Path(self.get_temp_dir()) / "run"
    training = dataclasses.replace(small_runs.TRAINING, evaluate_every=1)
    run = runs.train(task, run_dir, training, OptimizerConfig(updates=2))
    found = events_of(run_dir)
    tags = {
      "training/loss",
      "validation/error_percent",
      "error_by_glimpse/validation_after_1",
      "glimpses/validation",
      "glimpses/row",
      "glimpses/column",
      "glimpses/scale",
      "prior/first_location",
    }
    self.assertLessEqual(tags, set(found))
    for tag in tags:
      self.assertEqual(set(found[tag]), {1, 2}, tag)
    for tag in ("glimpses/validation", "prior/first_location"):
      self.assertEqual(found[tag][1].metadata.plugin_data.plugin_name, "images")
    self.assertEqual(found["glimpses/row"][1].metadata.plugin_data.plugin_name, "histograms")
    # Of each of three validation images, two glimpses.
    histogram = tf.make_ndarray(found["glimpses/scale"][2].tensor)
    self.assertEqual(histogram[:, 2].sum(), 6)
    session = found["_hparams_/session_start_info"][0].metadata.plugin_data.content
    values = plugin_data_pb2.HParamsPluginData.FromString(session).session_start_info.hparams
    self.assertEqual(values["units"].number_value, 8)
    self.assertEqual(values["estimator"].string_value, "variational")
    self.assertEqual(values["choose_scale"].bool_value, True)
    self.assertEqual(run.results["updates"], 2)

  def test_the_prior_and_the_glimpses_are_the_networks(self):
    task = small_runs.array_task(
      model=ModelConfig(
        units=8,
        num_glimpses=2,
        glimpse=GlimpseConfig(glimpse_side=4),
        location=LocationConfig("grid", grid_rows=2, grid_columns=3),
        context_side=4,
      )
    )
    learner = task.make_learner(clip_norm=1.0, seed=1)
    before = [np.array(weight) for weight in learner.weights]
    looked = GlimpseSummaries(task.validation_data(), ["a", "b"])(learner)
    images = next(iter(task.validation_data().unbatch().batch(64)))[0]
    network = learner.prediction_network
    locations = network(images)["locations"].numpy()
    self.assertAllClose(looked.histograms["glimpses/row"], locations[..., 0].ravel())
    self.assertAllClose(looked.histograms["glimpses/column"], locations[..., 1].ravel())
    view = network.look(images)
    logits = network.prior(view, network.begin(view).upper[0])
    expected = tf.reduce_mean(tf.nn.softmax(logits), axis=0).numpy().reshape(2, 3)
    picture = looked.images["prior/first_location"]
    self.assertEqual(picture.shape, (170, 255, 3))
    self.assertAllClose(picture[42::85, 42::85, 0] / 255, expected / expected.max(), atol=1 / 255)
    self.assertEqual(looked.images["glimpses/validation"].shape, (280, 4 * 264, 3))
    for weight, old in zip(learner.weights, before, strict=True):
      self.assertAllEqual(weight, old)

  def test_of_large_images_few_are_kept(self):
    for side, kept in ((8, 64), (1024, 16), (4096, 4)):
      image = tf.zeros([1, side, side, 1])
      data = tf.data.Dataset.from_tensors((image, tf.zeros([1], tf.int32))).repeat(64)
      self.assertLen(GlimpseSummaries(data).images, kept)

  def test_tiles_frame_the_finest_patches(self):
    locations = np.zeros([1, 1, 2], np.float32)
    tile = glimpse_tiles(np.zeros([1, 64, 64, 1]), locations, 16, 2, [""])
    # 64 pixels become 256; the patch of 16 pixels is in the middle, its line 2 pixels wide.
    inside = tile[20:276, 4:260].astype(int)
    coloured = np.argwhere(np.ptp(inside, axis=-1) > 60)
    self.assertAllEqual(coloured.min(axis=0), [96, 96])
    self.assertAllEqual(coloured.max(axis=0), [160, 160])
    # Weights that diverged must not end a training.
    tile = glimpse_tiles(np.zeros([1, 64, 64, 1]), np.full([1, 1, 2], np.nan), 16, 2, [""])
    self.assertEqual(tile[20:276, 4:260].max(), 0)


if __name__ == "__main__":
  tf.test.main()
