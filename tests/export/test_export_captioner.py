"""The program export_captioner.py, and what its exports answer in C++, backbone or not."""

import dataclasses
import io
import json
import re
import shutil

import answering
import caption_signatures
import cpp_loader
import examples
import finished_run
import keras
import manifests
import numpy as np
import PIL.Image
import protos
import pytest
import saved_model

import wsram_tf
from tests import caption_toy
from wsram_tf.captions import beam_search
from wsram_tf.captions.vocabulary import Vocabulary

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
  """What `beam_search` gives in Python, in words."""
  network = finished_run.load_caption_run(run).network
  found = beam_search(network, inputs, wsram_tf.DecodingConfig(beam_width=beam_width))
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


def test_photographs_of_any_size_are_stretched_as_in_training(cpp, exported, photo_run):
  # Smooth, as photographs are; PIL's resizing is what training made its features with.
  small = random_images(5, 7, 3, count=6)
  sizes = [(160, 120), (33, 16), (16, 33), (8, 9), (300, 16), (16, 16)]
  photos = [
    PIL.Image.fromarray(image).resize(size, PIL.Image.Resampling.BICUBIC)
    for image, size in zip(small, sizes, strict=True)
  ]
  stretched = [np.asarray(p.resize((SIDE, SIDE), PIL.Image.Resampling.BILINEAR)) for p in photos]
  answers = []
  for images in (map(np.asarray, photos), stretched):
    files = examples.as_bytes_array([encode(image, format="PNG") for image in images])
    answers.append(cpp.run(exported / "photos/1", "serving_default", image_bytes=files))
  np.testing.assert_array_equal(answers[0]["caption"], answers[1]["caption"])
  np.testing.assert_allclose(answers[0]["log_prob"], answers[1]["log_prob"], atol=0.02)
  assert np.ptp(answers[0]["log_prob"]) > 0.1
  with pytest.raises(cpp_loader.ServingError, match="must have 1 to 16777216 pixels; row, height"):
    # One pixel row more than allowed.
    header = encode(np.zeros([2, 4096], np.uint8), format="PNG")
    wide = header[:20] + (4097).to_bytes(4, "big") + header[24:]
    cpp.run(exported / "photos/1", "serving_default", image_bytes=examples.as_bytes_array([wide]))


def test_images_of_the_networks_own_are_of_its_size(cpp, exported):
  wrong = examples.as_bytes_array([encode(np.zeros([12, 16], np.uint8), format="PNG")])
  with pytest.raises(cpp_loader.ServingError, match="must be 16 pixels high and 12 wide"):
    cpp.run(exported / "scenes/1", "serving_default", image_bytes=wrong)


def test_nothing_is_answered_with_nothing(cpp, exported):
  for name in ("photos", "scenes"):
    answer = cpp.run(exported / name / "1", "serving_default", image_bytes=np.empty(0, object))
    assert answer["caption"].shape == (0,)
    assert answer["locations"].shape == (0, MAX_WORDS, 2)


def test_weights_are_held_once_and_training_leaves_no_trace(exported, photo_run):
  run = finished_run.load_caption_run(photo_run)
  weights = [*run.network.weights, *run.backbone.weights]
  manifest = manifests.read_manifest(exported / "photos/1")
  assert manifest.weight_bytes == 4 * sum(int(np.prod(weight.shape)) for weight in weights)
  index = (exported / "photos/1/variables/variables.index").read_bytes()
  assert index.count(b"VARIABLE_VALUE") == len(weights)
  graph = (exported / "photos/1/saved_model.pb").read_bytes()
  for word in (b"_XlaMustCompile", b"inference_network", b"seed_generator", b"adam"):
    assert word not in graph


def test_a_changed_contract_is_refused(exported, tmp_path):
  shutil.copytree(exported, tmp_path, dirs_exist_ok=True)
  config = caption_toy.model_config(max_words=MAX_WORDS - 1, channels=1)
  module, functions = caption_signatures.build_caption_signatures(
    wsram_tf.CaptionNetwork(config), VOCABULARY, wsram_tf.DecodingConfig()
  )
  draft = manifests.read_manifest(exported / "photos/1")
  draft = dataclasses.replace(
    draft, height=2, width=2, channels=1, largest_pixels=None, feature_shape=None
  )
  with pytest.raises(ValueError, match="name='photos': a new version must keep the contr") as error:
    saved_model.write_version(tmp_path, module, functions, draft)
  for change in (
    "serving_default.outputs.words: string [-1, 4] became string [-1, 3]",
    "caption_features.inputs.features: float32 [-1, 2, 2, 3] became absent",
  ):
    assert change in str(error.value)
  assert manifests.version_numbers(tmp_path / "photos") == [1]


def test_the_page_names_both_models_and_files_that_are_there(exported):
  page = (exported / "README.md").read_text()  # About scenes, which were exported last.
  assert "| photos | 1 | 16 x 16 x 3 | 7 | 4 | 3 | bleu_4 12.5 |" in page
  assert "| scenes | 1 | 16 x 12 x 1 | 7 | 4 | 3 |" in page
  assert "--signature_def=caption_images" in page
  for path in re.findall(r"scenes/1[\w./]*", page):
    assert (exported / path).exists(), path


def test_predict_says_the_caption(helpers, cpp, exported, tmp_path):
  model_dir = exported / "photos/1"
  images = [np.full([50, 40, 3], colour, np.uint8) for colour in range(0, 256, 32)]
  files = [encode(image, format="PNG") for image in [*random_images(50, 40, 3), *images]]
  answer = cpp.run(model_dir, "serving_default", image_bytes=examples.as_bytes_array(files))
  lengths = [len(caption) for caption in answer["caption"]]
  rows = [int(np.argmax(lengths)), int(np.argmin(lengths))]
  assert lengths[rows[0]] > 0
  for row in rows:
    (tmp_path / f"{row}.png").write_bytes(files[row])
  flags = [f"--model_dir={model_dir}", f"--draw_dir={tmp_path / 'drawn'}"]
  done = helpers.run_program("predict.py", *flags, *(f"{tmp_path}/{row}.png" for row in rows))
  assert done.returncode == 0, done.stderr
  for row in rows:
    caption, log_prob = answer["caption"][row].decode() or "(nothing)", answer["log_prob"][row]
    assert f"{row}.png: {caption} (log-probability {log_prob:.2f} nats)" in done.stdout
    assert (tmp_path / "drawn" / f"{row}_glimpses.png").stat().st_size > 1000


@pytest.mark.parametrize(
  ("file", "damage", "words"),
  [
    ("model.keras", lambda contents: contents[:100], "model.keras must be whole"),
    ("backbone.keras", lambda contents: contents[:100], "backbone.keras must be whole"),
    ("vocabulary.txt", lambda contents: b"dog\n", "vocabulary.txt must be as training wrote it"),
    ("vocabulary.txt", lambda contents: None, "vocabulary.txt must be as training wrote it"),
  ],
)
def test_damaged_runs_are_refused(photo_run, tmp_path, file, damage, words):
  shutil.copytree(photo_run, tmp_path, dirs_exist_ok=True)
  contents = damage((tmp_path / file).read_bytes())
  (tmp_path / file).unlink()
  if contents is not None:
    (tmp_path / file).write_bytes(contents)
  with pytest.raises(ValueError, match=words) as error:
    finished_run.load_caption_run(tmp_path)
  assert str(tmp_path) in str(error.value)


def test_what_does_not_belong_together_is_refused(photo_run, tmp_path):
  run, config = finished_run.load_caption_run(photo_run), wsram_tf.DecodingConfig()
  build = caption_signatures.build_caption_signatures
  with pytest.raises(ValueError, match="vocabulary: must be 7 words, as many as the network says"):
    build(run.network, Vocabulary(["dog"]), config, run.backbone)
  other = keras.Sequential([keras.Input([SIDE, SIDE, 3]), keras.layers.AveragePooling2D(4)])
  with pytest.raises(ValueError, match=r"backbone: must make .* \[2, 2, 3\]; it makes \[4, 4, 3\]"):
    build(run.network, VOCABULARY, config, other)
  several = keras.Sequential([keras.Input([None, None, 3]), keras.layers.AveragePooling2D(4)])
  with pytest.raises(ValueError, match="backbone: must take images"):
    build(run.network, VOCABULARY, config, several)
  network = wsram_tf.CaptionNetwork(caption_toy.model_config(channels=5))
  with pytest.raises(ValueError, match="backbone=None: must be given"):
    build(network, VOCABULARY, config)
  with pytest.raises(ValueError, match="must hold a WakeSleepLearner; got CaptionLearner"):
    finished_run.load_run(photo_run)


@pytest.mark.parametrize(
  ("flag", "words"),
  [
    ("--run_dir=nowhere", "must be a folder that holds model.keras"),
    ("--beam_width=0", "must be at least 1"),
    ("--length_exponent=3", "must be from 0 to 2"),
    ("--name=7", "must be a letter, then letters, digits"),
  ],
)
def test_wrong_flags_are_refused(helpers, photo_run, tmp_path, flag, words):
  done = export(helpers, photo_run, tmp_path / "models", "--name=photos", flag)
  assert done.returncode == 1
  assert words in done.stderr
  assert not list(tmp_path.iterdir())


def test_a_served_captioner_is_known_by_its_signatures(cpp, exported, model_dir):
  class Client:
    """What a server would answer, from the C++ runtime."""

    def __init__(self, path):
      self.path = path

    def input_shapes(self):
      signatures = protos.saved_model_signatures((self.path / "saved_model.pb").read_bytes())
      return {
        name: {key: info.shape for key, info in signature.inputs.items()}
        for name, signature in signatures.items()
      }

    def ask(self, signature, files):
      return cpp.run(self.path, signature, image_bytes=examples.as_bytes_array(files))

  for path, fit, shape, output in (
    (exported / "photos/1", "any size", (0, 0, 3), "caption"),
    (exported / "scenes/1", "resize", (16, 12, 1), "caption"),
    (model_dir, "resize", (40, 36, 1), "class_id"),
  ):
    model = answering.ServedModel(Client(path), "name")
    assert (model.fit, model.image_shape()) == (fit, shape)
    assert output in model.ask([(path / "assets.extra/example.png").read_bytes()])
