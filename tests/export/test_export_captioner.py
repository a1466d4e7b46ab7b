"""The program export_captioner.py, and what its exports answer in C++, backbone or not."""

import io
import json
import re
import shutil

import caption_signatures
import cpp_loader
import examples
import finished_run
import keras
import manifests
import numpy as np
import PIL.Image
import pytest
import tensorflow as tf

import wsram_tf
from tests import caption_toy
from wsram_tf import decoding
from wsram_tf.data.vocabulary import Vocabulary

WORDS = ["dog", "größe", "runs"]
VOCABULARY = Vocabulary(WORDS)
SIDE, MAX_WORDS = 16, 4


def make_backbone():
  """Makes grids of 2 x 2 cells; its normalisation has weights that do not train."""
  inputs = keras.Input([SIDE, SIDE, 3])
  x = keras.layers.Rescaling(1 / 127.5, -1)(inputs)
  x = keras.layers.Conv2D(3, 3, strides=2, padding="same")(x)
  x = keras.layers.BatchNormalization()(x)
  backbone = keras.Model(inputs, keras.layers.AveragePooling2D(4)(keras.layers.ReLU()(x)))
  generator = np.random.default_rng(5)
  backbone.set_weights([generator.uniform(0.2, 0.9, w.shape) - 0.1 for w in backbone.weights])
  return backbone


def make_run(path, backbone=None, **config):
  """A folder as training leaves it."""
  path.mkdir()
  keras.utils.set_random_seed(1)
  sizes = {"units": 48, "word_units": 16, "location_units": 16, "max_words": MAX_WORDS, **config}
  learner = wsram_tf.CaptionLearner(caption_toy.model_config(**sizes))
  for weight in learner.prediction_network.weights:  # So that images make a difference.
    weight.assign_add(0.3 * keras.random.normal(weight.shape))
  learner.compile(keras.optimizers.Adam(1e-3), jit_compile=False)
  learner.save(path / "model.keras")
  VOCABULARY.save(path / "vocabulary.txt")
  (path / "results.json").write_text(json.dumps({"bleu_4": 12.5, "of": "test"}))
  if backbone is not None:
    backbone.save(path / "backbone.keras")
  return path


def export(helpers, run, export_dir, *flags):
  return helpers.run_program(
    "export_captioner.py",
    f"--run_dir={run}",
    f"--export_dir={export_dir}",
    "--allowed_batch_sizes=1,3",
    *flags,
  )


@pytest.fixture(scope="module")
def photo_run(tmp_path_factory):
  return make_run(tmp_path_factory.mktemp("runs") / "photos", make_backbone())


@pytest.fixture(scope="module")
def scene_run(tmp_path_factory):
  """A run whose network takes the images themselves."""
  shape = {"height": 16, "width": 12, "channels": 1, "grid_filters": (4,)}
  return make_run(tmp_path_factory.mktemp("runs") / "scenes", **shape)


@pytest.fixture(scope="module")
def exported(helpers, photo_run, scene_run, tmp_path_factory):
  """One folder of models, `photos` and `scenes`, each verified before it was published."""
  export_dir = tmp_path_factory.mktemp("models")
  for name, run in (("photos", photo_run), ("scenes", scene_run)):
    done = export(helpers, run, export_dir, f"--name={name}")
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.findall(r"^(\S.*?) +ok ", done.stdout, re.M)[-1] == "imports"
    assert f"Exported {export_dir}/{name}/1\n" in done.stdout
  return export_dir


def expected_answer(run, inputs, beam_width=3):
  """What `decoding.beam_search` gives in Python, in words."""
  network = finished_run.load_caption_run(run).network
  found = decoding.beam_search(network, inputs, wsram_tf.DecodingConfig(beam_width=beam_width))
  return found, [VOCABULARY.decode(words) for words in found["words"].numpy()]


def check_answer(answer, found, captions):
  assert [caption.decode() for caption in answer["caption"]] == captions
  assert len(set(captions)) > 2
  np.testing.assert_allclose(answer["log_prob"], found["log_prob"], atol=1e-5)
  for row, caption in enumerate(captions):
    words, count = [word.decode() for word in answer["words"][row]], len(caption.split())
    assert words == caption.split() + [""] * (MAX_WORDS - count)
    np.testing.assert_allclose(
      answer["locations"][row, :count], found["locations"][row, :count], atol=1e-6
    )
    np.testing.assert_array_equal(answer["locations"][row, count:], 0)


def random_images(*shape, count=12):
  return np.random.RandomState(3).randint(0, 256, [count, *shape]).astype(np.uint8)


def encode(image, **options):
  file = io.BytesIO()
  PIL.Image.fromarray(np.squeeze(image)).save(file, **options)
  return file.getvalue()


def test_contracts(exported):
  answer = {
    "caption": "string [-1]",
    "log_prob": "float32 [-1]",
    "words": f"string [-1, {MAX_WORDS}]",
    "locations": f"float32 [-1, {MAX_WORDS}, 2]",
  }
  files = {"inputs": {"image_bytes": "string [-1]"}, "outputs": answer}
  photos = manifests.read_manifest(exported / "photos/1")
  assert photos.contract == {
    "serving_default": files,
    "caption_features": {"inputs": {"features": "float32 [-1, 2, 2, 3]"}, "outputs": answer},
  }
  assert (photos.image_shape, photos.largest_pixels) == ((SIDE, SIDE, 3), 4096**2)
  assert (photos.beam_width, photos.test_figures) == (3, {"bleu_4": 12.5})
  scenes = manifests.read_manifest(exported / "scenes/1")
  assert scenes.contract == {
    "serving_default": files,
    "caption_images": {"inputs": {"images": "float32 [-1, 16, 12, 1]"}, "outputs": answer},
  }
  assert (scenes.image_shape, scenes.largest_pixels) == ((16, 12, 1), None)


def test_captions_of_features_are_the_searchs(cpp, exported, photo_run):
  features = np.random.default_rng(2).normal(size=[40, 2, 2, 3]).astype(np.float32)
  answer = cpp.run(exported / "photos/1", "caption_features", features=features)
  check_answer(answer, *expected_answer(photo_run, features))


def test_captions_of_photographs_go_through_the_backbone(cpp, exported, photo_run):
  # From dark to bright, and some all of one colour, so that captions differ.
  images = random_images(SIDE, SIDE, 3) // np.arange(1, 13)[:, None, None, None]
  images[::2] = images[::2, :1, :1]
  images = images.astype(np.uint8)
  files = examples.as_bytes_array([encode(image, format="PNG") for image in images])
  answer = cpp.run(exported / "photos/1", "serving_default", image_bytes=files)
  backbone = keras.saving.load_model(photo_run / "backbone.keras")
  features = backbone(images.astype(np.float32), training=False)
  found, captions = expected_answer(photo_run, features)
  assert [caption.decode() for caption in answer["caption"]] == captions
  np.testing.assert_allclose(answer["log_prob"], found["log_prob"], atol=1e-5)
  assert np.ptp(answer["log_prob"]) > 0.01


def test_captions_of_images_are_the_searchs(cpp, exported, scene_run):
  images = random_images(16, 12, 1, count=40)
  found, captions = expected_answer(scene_run, examples.to_float(images))
  answer = cpp.run(exported / "scenes/1", "caption_images", images=examples.to_float(images))
  check_answer(answer, found, captions)
  files = examples.as_bytes_array([encode(image, format="PNG") for image in images])
  answer = cpp.run(exported / "scenes/1", "serving_default", image_bytes=files)
  check_answer(answer, found, captions)
