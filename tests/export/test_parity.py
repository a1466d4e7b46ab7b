"""The C++ runtime answers as Keras does, on the test canvases of a run.

The README reports the comparison on all 10,000 canvases of a run that was trained to its end.
"""

import json

import keras
import numpy as np
import tensorflow as tf

from tests.support.serving import exports
from wsram_tf.classification import ModelConfig, WakeSleepLearner
from wsram_tf.config import ObjectiveConfig
from wsram_tf.data import canvases, digits
from wsram_tf.data.canvases.config import CanvasConfig
from wsram_tf.export.finished_run import load_run

NUM_CANVASES = 2_000
CANVAS = CanvasConfig(canvas_side=60)


def train(path, images, labels):
  """Trains for a few updates, so that glimpses and classes differ from image to image."""
  keras.utils.set_random_seed(1)
  learner = WakeSleepLearner(
    ModelConfig(height=60, width=60, units=64, num_glimpses=2),
    ObjectiveConfig("variational", num_samples=1),  # Traced soonest.
    num_evaluation_samples=1,
  )
  learner.compile(keras.optimizers.Adam(0.003), jit_compile=False)
  data = canvases.canvas_dataset(
    digits.load_digits("mnist5k", num_validation=0).train, CANVAS, batch_size=64, seed=1
  )
  learner.fit(data, steps_per_epoch=50, verbose=0)
  learner.save(path / "model.keras")
  figures = learner.evaluate(images, labels, batch_size=250, return_dict=True, verbose=0)
  error = figures["error_percent"]
  (path / "results.json").write_text(json.dumps({"test_error_percent": error}))


class ParityTest(tf.test.TestCase):
  def test_the_c_runtime_answers_as_keras_does(self):
    folder = exports.temporary_folder(self)
    evaluation = canvases.evaluation_canvases(
      digits.load_digits("mnist5k", num_validation=0).test,
      CANVAS,
      num_canvases=NUM_CANVASES,
      batch_size=500,
      seed=2,
    )
    batches = list(evaluation.as_numpy_iterator())
    images, labels = (np.concatenate([batch[part] for batch in batches]) for part in (0, 1))
    train(folder, images, labels)
    run = load_run(folder)
    model_dir = exports.write(folder / "models", run.network, signatures=("serving_default",))
    parts = [
      exports.cpp().run(model_dir, "serving_default", images=images[first : first + 400])
      for first in range(0, NUM_CANVASES, 400)
    ]
    answers = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    learner = keras.saving.load_model(folder / "model.keras", compile=False)
    expected = learner.predict(images, batch_size=250, verbose=0)
    self.assertGreater(len(np.unique(answers["class_id"])), 3)
    gaps = np.abs(answers["probabilities"] - expected["probabilities"]).max(axis=1)
    # A glimpse may move by a pixel where its place is a tie between two: at most 2 in 10,000.
    self.assertLessEqual(np.count_nonzero(answers["class_id"] != expected["class_id"]), 1)
    self.assertLessEqual(np.count_nonzero(gaps > 1e-4), 1)
    error = 100 * np.mean(answers["class_id"] != labels)
    self.assertLessEqual(abs(error - run.test_error_percent), 100 / NUM_CANVASES + 1e-4)


if __name__ == "__main__":
  tf.test.main()
