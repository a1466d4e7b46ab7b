"""Photographs with captions: the data, files and scores of `PhotographTask`."""

import pathlib
import tempfile

import numpy as np
import tensorflow as tf

import wsram_tf
from tests.support import example_photos
from wsram_tf import tasks
from wsram_tf.captions import grid_network
from wsram_tf.captions.vocabulary import Vocabulary
from wsram_tf.runs.folder import RunFolder


class PhotographTaskTest(tf.test.TestCase):
  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    folder = tempfile.TemporaryDirectory()
    cls.addClassCleanup(folder.cleanup)
    cls.folder = pathlib.Path(folder.name)
    example_photos.write_coco_captions(cls.folder, {"train": 5, "restval": 2, "val": 2, "test": 3})
    example_photos.write_backbone(cls.folder / "backbone.keras")

  def make(self, **features) -> tasks.PhotographTask:
    given = {"backbone": str(self.folder / "backbone.keras")} | features
    return tasks.PhotographTask(
      dataset="coco_captions",
      data_dir=self.folder,
      features=tasks.FeatureConfig(**given),
      photographs=tasks.PhotographConfig(max_words=4, least_word_count=1),
      model=wsram_tf.CaptionModelConfig(
        grid_filters=(), grid_reach=1, cell="gru", units=8, word_units=4, location_units=4
      ),
      objective=wsram_tf.ObjectiveConfig(estimator="variational", num_samples=1),
    )

  def new_run(self) -> RunFolder:
    return RunFolder(tempfile.mkdtemp(dir=self.folder))

  def test_scores_a_learner_on_records(self):
    task, run = self.make(), self.new_run()
    task.open(None)
    self.assertEqual((task.model.image_shape, task.model.max_words), ((4, 4, 5), 4))
    task.prepare(run)
    self.assertTrue((run.path / "backbone.keras").exists())
    batches = list(task.training_data(batch_size=3, seed=1, start_update=0).take(3))
    (resumed,) = task.training_data(batch_size=3, seed=1, start_update=2).take(1)
    self.assertEqual((batches[0][0].shape, batches[0][1].shape), ((3, 4, 4, 5), (3, 4)))
    self.assertAllEqual(resumed[1], batches[2][1])
    learner = task.make_learner(clip_norm=1.0, seed=1)
    learner.compile("adam", run_eagerly=True)
    results = task.score(learner, run)
    self.assertEqual((results["training_images"], results["training_captions"]), (7, 7))
    self.assertEqual((results["validation_images"], results["test_images"]), (2, 3))
    self.assertBetween(results["bleu_4"], 0.0, 100.0)
    self.assertTrue(np.isfinite(results["test_log_likelihood_per_word_nats"]))
    self.assertGreater(run.glimpses.stat().st_size, 0)
    self.assertEqual(Vocabulary.load(run.path / "vocabulary.txt").words, task.vocabulary.words)

  def test_flips_training_images_whose_captions_name_no_side(self):
    folder = pathlib.Path(tempfile.mkdtemp(dir=self.folder))
    example_photos.write_flickr8k(folder)
    example_photos.write_layered_backbone(folder / "layered.keras")
    written = folder / "Flickr8k.token.txt"
    written.write_text(written.read_text().replace("#0\tA ", "#0\tLeft "))
    for learns in (False, True):
      task = tasks.PhotographTask(
        dataset="flickr8k",
        data_dir=folder,
        features=tasks.FeatureConfig(
          backbone=str(folder / "layered.keras"),
          backbone_layers="fine,coarse",
          keep_features=not learns,
          train_backbone=learns,
        ),
        photographs=tasks.PhotographConfig(least_word_count=1, augment_flip=True),
        model=wsram_tf.CaptionModelConfig(grid_filters=(), grid_reach=1),
      )
      task.open(None)
      task.prepare(self.new_run())
      originals = task.features.grids[np.arange(len(task.splits.names))]
      shapes = [] if learns else task.maker.layer_shapes
      flipped = grid_network.flip_grids(tf.constant(originals), shapes).numpy()
      # Six photographs, each with one caption of "left" and one of no side; ten passes.
      (batch,) = task.training_data(batch_size=120, seed=1, start_update=0).take(1)
      grids, captions = batch[0].numpy(), batch[1].numpy()
      names_side = (captions == task.vocabulary.words.index("left")).any(axis=1)
      is_original = [(originals == grid).all(axis=(1, 2, 3)).any() for grid in grids]
      is_flipped = [(flipped == grid).all(axis=(1, 2, 3)).any() for grid in grids]
      self.assertAllEqual(np.logical_or(is_original, is_flipped), [True] * 120)
      self.assertEqual(names_side.sum(), 60)
      self.assertAllEqual(np.array(is_original)[names_side], [True] * 60)
      # Four standard deviations of 60 throws of a coin.
      self.assertAllClose(np.mean(np.array(is_flipped)[~names_side]), 0.5, atol=0.26)
      validation = np.concatenate([images for images, _ in task.validation_data()])
      self.assertAllEqual(validation, originals[task.features.rows_of(task.dev.names)])

  def test_a_reader_needs_the_features_in_files(self):
    task = self.make()
    task.open(None)
    run = RunFolder(self.new_run().path, is_writer=False)
    with self.assertRaisesRegex(ValueError, "features=.*: must exist before several workers"):
      task.prepare(run)
    self.assertEqual(list(run.path.iterdir()), [])

  def test_the_record_holds_absolute_paths_and_the_words(self):
    found = self.make(features="grids").settings()
    self.assertContainsSubset(
      [
        "# task: photographs",
        "--dataset=coco_captions",
        f"--data_dir={self.folder}",
        f"--backbone={self.folder / 'backbone.keras'}",
        f"--features={pathlib.Path('grids').absolute()}",
        "--max_words=4",
      ],
      found.lines,
    )
    self.assertContainsSubset(["backbone", "data_dir", "features"], found.paths)

  def test_refuses_an_unknown_set(self):
    with self.assertRaisesRegex(ValueError, "dataset='films': must be one of flickr8k"):
      tasks.PhotographTask(dataset="films")


if __name__ == "__main__":
  tf.test.main()
