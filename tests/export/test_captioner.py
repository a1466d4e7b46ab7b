"""The captioner's exported functions, and the answers of its exports in C++, backbone or not."""

import atexit
import dataclasses
import functools
import io
import json
import pathlib
import re
import shutil
import tempfile

import keras
import numpy as np
import PIL.Image
import tensorflow as tf

from tests.support import programs
from tests.support.models import caption_toy
from tests.support.serving import exports
from wsram_tf.captions import CaptionLearner, CaptionNetwork, DecodingConfig, beam_search
from wsram_tf.captions.vocabulary import Vocabulary
from wsram_tf.export import (
  build_caption_signatures,
  export_captioner,
  finished_run,
  write_version,
)
from wsram_tf.serving import ServedModel, ServingError, manifests, protos
from wsram_tf.serving.examples import as_bytes_array, to_float

WORDS = ["dog", "größe", "runs"]
VOCABULARY = Vocabulary(WORDS)
SIDE = 16
MAX_WORDS = 3  # Each word is traced.
AT_MODE = DecodingConfig(beam_width=3)
AVERAGED = DecodingConfig(beam_width=4, averaged_samples=3, consensus=True)  # Of the scenes.


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
  learner = CaptionLearner(caption_toy.model_config(**sizes))
  for weight in learner.prediction_network.weights:  # So that images make a difference.
    weight.assign_add(0.4 * keras.random.normal(weight.shape))
  learner.compile(keras.optimizers.Adam(1e-3), jit_compile=False)
  learner.save(path / "model.keras")
  VOCABULARY.save(path / "vocabulary.txt")
  (path / "results.json").write_text(json.dumps({"bleu_4": 12.5, "of": "test"}))
  if backbone is not None:
    backbone.save(path / "backbone.keras")
  return path


@functools.cache
def folder():
  path = pathlib.Path(tempfile.mkdtemp())
  atexit.register(shutil.rmtree, path)
  return path


@functools.cache
def photo_run():
  return make_run(folder() / "photos", make_backbone())


@functools.cache
def scene_run():
  """A run whose network takes the images themselves."""
  shape = {"height": 16, "width": 12, "channels": 1, "grid_filters": (4,)}
  return make_run(folder() / "scenes", **shape)


@functools.cache
def exported():
  """One folder of models, `photos` and `scenes`, each verified before its publication."""
  for name, run, decoding in (
    ("photos", photo_run(), AT_MODE),
    ("scenes", scene_run(), AVERAGED),
  ):
    lines = []
    version = export_captioner(
      run,
      folder() / "models",
      name,
      decoding=decoding,
      allowed_batch_sizes=(1, 3),
      report=lines.append,
    )
    assert version == folder() / "models" / name / "1"
    assert re.findall(r"^(\S.*?) +ok ", "\n".join(lines), re.M)[-1] == "imports"
    assert f"Exported {version}" in lines
  return folder() / "models"


def expected_answer(run, inputs, decoding=AT_MODE):
  """The result of `beam_search` in Python, and its captions."""
  network = finished_run.load_caption_run(run).network
  found = beam_search(network, inputs, decoding)
  return found, [VOCABULARY.decode(words) for words in found["words"].numpy()]


def random_images(*shape, count=12):
  return np.random.RandomState(3).randint(0, 256, [count, *shape]).astype(np.uint8)


def encode(image, **options):
  file = io.BytesIO()
  PIL.Image.fromarray(np.squeeze(image)).save(file, **options)
  return file.getvalue()


class Client:
  """The answers of a server, from the C++ runtime."""

  def __init__(self, path):
    self.path = path

  def input_shapes(self):
    signatures = protos.saved_model_signatures((self.path / "saved_model.pb").read_bytes())
    return {
      name: {key: info.shape for key, info in signature.inputs.items()}
      for name, signature in signatures.items()
    }

  def ask(self, signature, files):
    return exports.cpp().run(self.path, signature, image_bytes=as_bytes_array(files))


DAMAGED = [
  ("model.keras", lambda contents: contents[:100], "model.keras must be whole"),
  ("backbone.keras", lambda contents: contents[:100], "backbone.keras must be whole"),
  ("vocabulary.txt", lambda contents: b"dog\n", "vocabulary.txt must be as training wrote it"),
  ("vocabulary.txt", lambda contents: None, "vocabulary.txt must be as training wrote it"),
]


class CaptionerTest(tf.test.TestCase):
  def check_answer(self, answer, found, captions):
    self.assertEqual([caption.decode() for caption in answer["caption"]], captions)
    self.assertGreater(len(set(captions)), 2)
    self.assertAllClose(answer["log_prob"], found["log_prob"], atol=1e-5)
    for row, caption in enumerate(captions):
      words, count = [word.decode() for word in answer["words"][row]], len(caption.split())
      self.assertEqual(words, caption.split() + [""] * (MAX_WORDS - count))
      self.assertAllClose(
        answer["locations"][row, :count], found["locations"][row, :count], atol=1e-6
      )
      self.assertFalse(answer["locations"][row, count:].any())
    self.assertEqual("likeness" in answer, "likeness" in found)
    if "likeness" in found:
      self.assertAllClose(answer["likeness"], found["likeness"], atol=1e-5)
      self.assertGreater(np.ptp(answer["likeness"]), 0.01)

  def test_contracts(self):
    answer = {
      "caption": "string [-1]",
      "log_prob": "float32 [-1]",
      "words": f"string [-1, {MAX_WORDS}]",
      "locations": f"float32 [-1, {MAX_WORDS}, 2]",
    }
    files = {"inputs": {"image_bytes": "string [-1]"}, "outputs": answer}
    photos = manifests.read_manifest(exported() / "photos/1")
    self.assertEqual(
      photos.contract,
      {
        "serving_default": files,
        "caption_features": {"inputs": {"features": "float32 [-1, 2, 2, 3]"}, "outputs": answer},
      },
    )
    self.assertEqual(
      (photos.facts.image_shape, photos.facts.largest_pixels), ((SIDE, SIDE, 3), 4096**2)
    )
    self.assertEqual((photos.facts.beam_width, photos.facts.test_figures), (3, {"bleu_4": 12.5}))
    self.assertEqual(photos.facts.averaged_samples, 0)
    scenes = manifests.read_manifest(exported() / "scenes/1")
    answer["likeness"] = "float32 [-1]"  # Of the consensus.
    self.assertEqual(
      scenes.contract,
      {
        "serving_default": files,
        "caption_images": {"inputs": {"images": "float32 [-1, 16, 12, 1]"}, "outputs": answer},
      },
    )
    self.assertEqual((scenes.facts.image_shape, scenes.facts.largest_pixels), ((16, 12, 1), None))
    self.assertEqual((scenes.facts.beam_width, scenes.facts.averaged_samples), (4, 3))
    self.assertEqual((photos.facts.consensus, scenes.facts.consensus), (False, True))

  def test_captions_of_features_are_the_searchs(self):
    features = np.random.default_rng(2).normal(size=[40, 2, 2, 3]).astype(np.float32)
    answer = exports.cpp().run(exported() / "photos/1", "caption_features", features=features)
    self.check_answer(answer, *expected_answer(photo_run(), features))

  def test_captions_of_photographs_go_through_the_backbone(self):
    # From dark to bright, and some all of one colour, so that captions differ.
    images = random_images(SIDE, SIDE, 3) // np.arange(1, 13)[:, None, None, None]
    images[::2] = images[::2, :1, :1]
    images = images.astype(np.uint8)
    files = as_bytes_array([encode(image, format="PNG") for image in images])
    answer = exports.cpp().run(exported() / "photos/1", "serving_default", image_bytes=files)
    backbone = keras.saving.load_model(photo_run() / "backbone.keras")
    features = backbone(images.astype(np.float32), training=False)
    found, captions = expected_answer(photo_run(), features)
    self.assertEqual([caption.decode() for caption in answer["caption"]], captions)
    self.assertAllClose(answer["log_prob"], found["log_prob"], atol=1e-5)
    self.assertGreater(np.ptp(answer["log_prob"]), 0.01)

  def test_captions_of_images_are_the_searchs(self):
    images = random_images(16, 12, 1, count=40)
    found, captions = expected_answer(scene_run(), to_float(images), AVERAGED)
    answer = exports.cpp().run(exported() / "scenes/1", "caption_images", images=to_float(images))
    self.check_answer(answer, found, captions)
    files = as_bytes_array([encode(image, format="PNG") for image in images])
    answer = exports.cpp().run(exported() / "scenes/1", "serving_default", image_bytes=files)
    self.check_answer(answer, found, captions)

  def test_photographs_of_any_size_are_stretched_as_in_training(self):
    # Smooth, as photographs are; training resized its images with Pillow.
    small = random_images(5, 7, 3, count=6)
    sizes = [(160, 120), (33, 16), (16, 33), (8, 9), (300, 16), (16, 16)]
    photos = [
      PIL.Image.fromarray(image).resize(size, PIL.Image.Resampling.BICUBIC)
      for image, size in zip(small, sizes, strict=True)
    ]
    stretched = [np.asarray(p.resize((SIDE, SIDE), PIL.Image.Resampling.BILINEAR)) for p in photos]
    answers = []
    for images in (map(np.asarray, photos), stretched):
      files = as_bytes_array([encode(image, format="PNG") for image in images])
      answers.append(
        exports.cpp().run(exported() / "photos/1", "serving_default", image_bytes=files)
      )
    self.assertAllEqual(answers[0]["caption"], answers[1]["caption"])
    self.assertAllClose(answers[0]["log_prob"], answers[1]["log_prob"], atol=0.02)
    self.assertGreater(np.ptp(answers[0]["log_prob"]), 0.1)
    with self.assertRaisesRegex(ServingError, "must have 1 to 16777216 pixels; row, height"):
      # One pixel row more than allowed.
      header = encode(np.zeros([2, 4096], np.uint8), format="PNG")
      wide = header[:20] + (4097).to_bytes(4, "big") + header[24:]
      exports.cpp().run(
        exported() / "photos/1", "serving_default", image_bytes=as_bytes_array([wide])
      )

  def test_images_of_the_networks_own_are_of_its_size(self):
    wrong = as_bytes_array([encode(np.zeros([12, 16], np.uint8), format="PNG")])
    with self.assertRaisesRegex(ServingError, "must be 16 pixels high and 12 wide"):
      exports.cpp().run(exported() / "scenes/1", "serving_default", image_bytes=wrong)

  def test_nothing_is_answered_with_nothing(self):
    for name in ("photos", "scenes"):
      answer = exports.cpp().run(
        exported() / name / "1", "serving_default", image_bytes=np.empty(0, object)
      )
      self.assertEqual(answer["caption"].shape, (0,))
      self.assertEqual(answer["locations"].shape, (0, MAX_WORDS, 2))
    self.assertEqual(answer["likeness"].shape, (0,))

  def test_weights_are_held_once_and_training_leaves_no_trace(self):
    run = finished_run.load_caption_run(photo_run())
    weights = [*run.network.weights, *run.backbone.weights]
    manifest = manifests.read_manifest(exported() / "photos/1")
    self.assertEqual(
      manifest.weight_bytes, 4 * sum(int(np.prod(weight.shape)) for weight in weights)
    )
    index = (exported() / "photos/1/variables/variables.index").read_bytes()
    self.assertEqual(index.count(b"VARIABLE_VALUE"), len(weights))
    graph = (exported() / "photos/1/saved_model.pb").read_bytes()
    for word in (b"_XlaMustCompile", b"inference_network", b"seed_generator", b"adam"):
      self.assertNotIn(word, graph)

  def test_a_changed_contract_is_refused(self):
    tmp_path = exports.temporary_folder(self)
    shutil.copytree(exported(), tmp_path, dirs_exist_ok=True)
    config = caption_toy.model_config(max_words=MAX_WORDS - 1, channels=1)
    module, functions = build_caption_signatures(
      CaptionNetwork(config), VOCABULARY, DecodingConfig()
    )
    facts = manifests.read_manifest(exported() / "photos/1").facts
    facts = dataclasses.replace(
      facts, height=2, width=2, channels=1, largest_pixels=None, feature_shape=None
    )
    with self.assertRaisesRegex(
      ValueError, "name='photos': a new version must keep the contr"
    ) as error:
      write_version(tmp_path, module, functions, facts)
    words = "serving_default.outputs.words: string"
    for change in (
      f"{words} [-1, {MAX_WORDS}] became string [-1, {MAX_WORDS - 1}]",
      "caption_features.inputs.features: float32 [-1, 2, 2, 3] became absent",
    ):
      self.assertIn(change, str(error.exception))
    self.assertEqual(manifests.version_numbers(tmp_path / "photos"), [1])

  def test_the_page_names_both_models_and_files_that_are_there(self):
    page = (exported() / "README.md").read_text()  # About scenes, which were exported last.
    self.assertIn(f"| photos | 1 | 16 x 16 x 3 | 7 | {MAX_WORDS} | 3 | 0 | bleu_4 12.5 |", page)
    self.assertIn(f"| scenes | 1 | 16 x 12 x 1 | 7 | {MAX_WORDS} | 4 | 3 |", page)
    self.assertIn("--signature_def=caption_images", page)
    for path in re.findall(r"scenes/1[\w./]*", page):
      self.assertTrue((exported() / path).exists(), path)

  def test_predict_prints_and_draws_the_caption(self):
    tmp_path = exports.temporary_folder(self)
    model_dir = exported() / "photos/1"
    images = [np.full([50, 40, 3], colour, np.uint8) for colour in range(0, 256, 32)]
    files = [encode(image, format="PNG") for image in [*random_images(50, 40, 3), *images]]
    answer = exports.cpp().run(model_dir, "serving_default", image_bytes=as_bytes_array(files))
    lengths = [len(caption) for caption in answer["caption"]]
    rows = [int(np.argmax(lengths)), int(np.argmin(lengths))]
    self.assertGreater(lengths[rows[0]], 0)
    for row in rows:
      (tmp_path / f"{row}.png").write_bytes(files[row])
    flags = [f"--model_dir={model_dir}", f"--draw_dir={tmp_path / 'drawn'}"]
    (printed,) = programs.endings("predict", [*flags, *(f"{tmp_path}/{row}.png" for row in rows)])
    for row in rows:
      caption, log_prob = answer["caption"][row].decode() or "(nothing)", answer["log_prob"][row]
      self.assertIn(f"{row}.png: {caption} (log-probability {log_prob:.2f} nats)", printed)
      self.assertGreater((tmp_path / "drawn" / f"{row}_glimpses.png").stat().st_size, 1000)

  def test_damaged_runs_are_refused(self):
    for file, damage, words in DAMAGED:
      run = exports.temporary_folder(self)
      shutil.copytree(photo_run(), run, dirs_exist_ok=True)
      contents = damage((run / file).read_bytes())
      (run / file).unlink()
      if contents is not None:
        (run / file).write_bytes(contents)
      with self.subTest(words), self.assertRaisesRegex(ValueError, words) as caught:
        finished_run.load_caption_run(run)
      self.assertIn(str(run), str(caught.exception))

  def test_wrong_arguments_are_refused(self):
    models = exports.temporary_folder(self) / "models"
    for given, words in (
      ({"name": "7"}, "name='7': must be a letter, then letters, digits"),
      ({"allowed_batch_sizes": (4, 1)}, "allowed_batch_sizes=4,1: must be whole numbers from 1"),
      ({"run": models}, "holds no finished run"),
      ({"run": None}, "run_dir=None: must be a path"),
    ):
      arguments = {"run": photo_run(), "export_dir": models, "name": "photos", **given}
      with self.subTest(words), self.assertRaisesRegex(ValueError, words):
        export_captioner(**arguments)
    self.assertFalse(models.exists())

  def test_what_does_not_belong_together_is_refused(self):
    run, config = finished_run.load_caption_run(photo_run()), DecodingConfig()
    build = build_caption_signatures
    with self.assertRaisesRegex(
      ValueError, "vocabulary: must be 7 words, as many as the network knows"
    ):
      build(run.network, Vocabulary(["dog"]), config, run.backbone)
    other = keras.Sequential([keras.Input([SIDE, SIDE, 3]), keras.layers.AveragePooling2D(4)])
    with self.assertRaisesRegex(
      ValueError, r"backbone: must make .* \[2, 2, 3\]; it makes \[4, 4, 3\]"
    ):
      build(run.network, VOCABULARY, config, other)
    several = keras.Sequential([keras.Input([None, None, 3]), keras.layers.AveragePooling2D(4)])
    with self.assertRaisesRegex(ValueError, "backbone: must take images"):
      build(run.network, VOCABULARY, config, several)
    network = CaptionNetwork(caption_toy.model_config(channels=5))
    with self.assertRaisesRegex(ValueError, "backbone=None: must be given"):
      build(network, VOCABULARY, config)
    with self.assertRaisesRegex(ValueError, "must hold a WakeSleepLearner; got CaptionLearner"):
      finished_run.load_run(photo_run())

  def test_a_served_captioner_is_known_by_its_signatures(self):
    for path, fit, shape, output in (
      (exported() / "photos/1", "any size", (0, 0, 3), "caption"),
      (exported() / "scenes/1", "resize", (16, 12, 1), "caption"),
      (exports.model_dir(), "resize", (40, 36, 1), "class_id"),
    ):
      model = ServedModel(Client(path), "name")
      self.assertEqual((model.fit, model.image_shape()), (fit, shape))
      self.assertIn(output, model.ask([(path / "assets.extra/example.png").read_bytes()]))


if __name__ == "__main__":
  tf.test.main()
