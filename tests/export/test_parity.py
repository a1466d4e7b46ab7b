"""The C++ runtime's answers against Keras' own, on the test canvases of a run.

The README states the same comparison on all 10,000 canvases of a run that was trained to its end.
"""

import json

import keras
import numpy as np
import pytest
from finished_run import load_run

import wsram_tf
from wsram_tf.data import canvases, digits

NUM_CANVASES = 2_000
CANVAS = wsram_tf.CanvasConfig(canvas_side=60)


@pytest.fixture(scope="module")
def evaluation():
  return canvases.evaluation_canvases(
    digits.load_digits("mnist5k", num_validation=0).test,
    CANVAS,
    num_canvases=NUM_CANVASES,
    batch_size=500,
    seed=2,
  )


@pytest.fixture(scope="module")
def run_dir(evaluation, tmp_path_factory):
  """A run of a few updates: enough that its glimpses and classes differ from image to image."""
  keras.utils.set_random_seed(1)
  learner = wsram_tf.WakeSleepLearner(
    wsram_tf.ModelConfig(height=60, width=60, units=64),
    wsram_tf.ObjectiveConfig(num_samples=2),
    num_evaluation_samples=1,
  )
  learner.compile(keras.optimizers.Adam(0.003), jit_compile=False)
  data = canvases.canvas_dataset(
    digits.load_digits("mnist5k", num_validation=0).train, CANVAS, batch_size=64, seed=1
  )
  learner.fit(data, steps_per_epoch=50, verbose=0)
  path = tmp_path_factory.mktemp("runs")
  learner.save(path / "model.keras")
  error = learner.evaluate(evaluation, return_dict=True, verbose=0)["error_percent"]
  (path / "results.json").write_text(json.dumps({"test_error_percent": error}))
  return path


@pytest.fixture(scope="module")
def images_and_labels(evaluation):
  batches = list(evaluation.as_numpy_iterator())
  return tuple(np.concatenate([batch[part] for batch in batches]) for part in (0, 1))


@pytest.fixture(scope="module")
def answers(helpers, cpp, run_dir, images_and_labels, tmp_path_factory):
  """What the C++ runtime answers from the exported run."""
  model_dir = helpers.write(tmp_path_factory.mktemp("models"), load_run(run_dir).network)
  images, _ = images_and_labels
  parts = [
    cpp.run(model_dir, "serving_default", images=images[first : first + 400])
    for first in range(0, NUM_CANVASES, 400)
  ]
  return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def test_the_c_runtime_answers_as_keras_does(run_dir, images_and_labels, answers):
  learner = keras.saving.load_model(run_dir / "model.keras", compile=False)
  expected = learner.predict(images_and_labels[0], batch_size=250, verbose=0)
  assert len(np.unique(answers["class_id"])) > 3
  gaps = np.abs(answers["probabilities"] - expected["probabilities"]).max(axis=1)
  # A glimpse may move by a pixel where its place is a tie between two: at most 2 in 10,000.
  assert np.count_nonzero(answers["class_id"] != expected["class_id"]) <= 1
  assert np.count_nonzero(gaps > 1e-4) <= 1


def test_the_error_is_the_runs(run_dir, images_and_labels, answers):
  wrong = answers["class_id"] != images_and_labels[1]
  recorded = load_run(run_dir).test_error_percent
  assert abs(100 * np.mean(wrong) - recorded) <= 100 / NUM_CANVASES + 1e-4
