"""verify.py passes what this package exports, and finds what is wrong with broken exports."""

import json
import os
import re
import shutil
import subprocess
import sys

import manifests
import pytest
import saved_model
import tensorflow as tf

import wsram_tf

CHECKS = [
  "files",
  "contract",
  "size",
  "load",
  "large image",
  "warm-up",
  "golden answers",
  "rows",
  "seeds",
  "refusals",
  "imports",
]


def verify(cpp, model_dir):
  """The names of the checks that failed, and all details, one a line."""
  found = cpp.verify(model_dir)
  assert list(found) == CHECKS
  failed = {name for name, (passed, _) in found.items() if not passed}
  return failed, "\n".join(f"{name}: {detail}" for name, (_, detail) in found.items())


def test_the_program_passes_a_fresh_export_and_imports_no_tensorflow(helpers, model_dir):
  program = os.fspath(helpers.ROOT / "export/verify.py")
  command = [sys.executable, "-X", "importtime", program, f"--model_dir={model_dir}"]
  done = subprocess.run(command, capture_output=True, text=True)
  assert done.returncode == 0, done.stdout
  assert re.findall(r"^(\S.*?) +ok ", done.stdout, re.MULTILINE) == CHECKS
  assert "batches of 0, 1, 3, 64, 1000" in done.stdout
  assert done.stdout.endswith("\nverified\n")
  imported = {
    line.rpartition("|")[2].strip().partition(".")[0] for line in done.stderr.splitlines()
  }
  assert "numpy" in imported
  assert not imported & {"tensorflow", "keras", "wsram_tf"}


@pytest.mark.parametrize(
  ("program", "paths"),
  [
    ("verify.py", ["model_dir"]),
    ("predict.py", ["model_dir", "draw_dir"]),
    ("export_classifier.py", ["run_dir", "export_dir", "extension"]),
    ("export_captioner.py", ["run_dir", "export_dir", "extension"]),
  ],
)
def test_help_shows_the_paths(helpers, program, paths):
  shown = helpers.run_program(program, "--help").stdout
  for name in paths:
    assert f"\n  --{name}: " in shown


def test_the_program_fails_with_an_export(helpers, export_dir, tmp_path):
  shutil.copytree(export_dir / "digits/1", tmp_path / "1")
  (tmp_path / "1/assets.extra/golden.npz").unlink()
  done = helpers.run_program("verify.py", f"--model_dir={tmp_path / '1'}")
  assert done.returncode == 1
  assert re.search(r"^files +FAILED changed, added or removed .*golden.npz$", done.stdout, re.M)
  assert done.stdout.endswith("\nFAILED: do not serve it\n")
  done = helpers.run_program("verify.py", f"--model_dir={tmp_path / '1/assets.extra'}")
  assert done.returncode == 1
  assert "must be a folder that holds saved_model.pb" in done.stderr


def images_spec(network):
  return tf.TensorSpec([None, *network.config.image_shape], tf.float32, "images")


def module_with(network):
  """A module that holds the weights as it should, for functions that call the network."""
  module = tf.Module()
  module.weights = [weight.value for weight in network.weights]
  return module


def checked(network, images):
  images = tf.ensure_shape(images, images_spec(network).shape)
  return tf.debugging.assert_all_finite(images, "images: must be finite")


def export(helpers, export_dir, network, module, **functions):
  """Writes a version of whatever functions, with all that belongs to it."""
  functions = {name: function.get_concrete_function() for name, function in functions.items()}
  draft = helpers.make_draft(network)
  return saved_model.write_version(export_dir, module, functions, draft)


def test_sound_functions_of_the_same_form_pass(helpers, cpp, network, tmp_path):
  # So that what fails in the tests below is what each of them broke.
  @tf.function(input_signature=[images_spec(network)])
  def serving_default(images):
    return network(checked(network, images))

  module = module_with(network)
  model_dir = export(helpers, tmp_path, network, module, serving_default=serving_default)
  failed, output = verify(cpp, model_dir)
  assert not failed, output


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_convolutions_pass(helpers, cpp, tmp_path, precision):
  # As a server's optimiser merges them with their bias, they fail where there is no image.
  glimpse = wsram_tf.GlimpseConfig(glimpse_side=8, glimpse_filters=(32, 32))
  helpers.write(tmp_path, helpers.make_network(glimpse=glimpse, precision=precision))
  failed, details = verify(cpp, tmp_path / "digits/1")
  assert not failed, details


def test_a_model_tracked_whole_fails(helpers, cpp, tmp_path):
  network = helpers.make_network()

  @tf.function(input_signature=[images_spec(network)])
  def serving_default(images):
    return network(checked(network, images))

  module = tf.Module()
  module.network = network
  model_dir = export(helpers, tmp_path, network, module, serving_default=serving_default)
  failed, output = verify(cpp, model_dir)
  assert {"golden answers", "warm-up"} <= failed
  assert "Could not find variable" in output


def test_a_compiled_function_fails(helpers, cpp, network, tmp_path):
  @tf.function(input_signature=[images_spec(network)])
  def serving_default(images):
    return tf.function(network, jit_compile=True)(checked(network, images))

  module = module_with(network)
  model_dir = export(helpers, tmp_path, network, module, serving_default=serving_default)
  failed, output = verify(cpp, model_dir)
  assert {"golden answers", "warm-up"} <= failed
  assert "XLA compilation disabled" in output


def test_unchecked_shapes_fail(helpers, cpp, network, tmp_path):
  @tf.function(input_signature=[images_spec(network)])
  def serving_default(images):
    return network(tf.debugging.assert_all_finite(images, "images: must be finite"))

  module = module_with(network)
  model_dir = export(helpers, tmp_path, network, module, serving_default=serving_default)
  failed, output = verify(cpp, model_dir)
  assert failed == {"refusals"}
  assert re.search(r"serving_default\.images, \w+.*: ", output)


def test_values_quietly_replaced_fail(helpers, cpp, network, tmp_path):
  @tf.function(input_signature=[images_spec(network)])
  def serving_default(images):
    images = tf.ensure_shape(images, images_spec(network).shape)
    return network(tf.where(tf.math.is_finite(images), images, 0.0))

  module = module_with(network)
  model_dir = export(helpers, tmp_path, network, module, serving_default=serving_default)
  failed, output = verify(cpp, model_dir)
  assert failed == {"refusals"}
  assert "serving_default.images, NaN: answered instead of refused" in output


def test_one_seed_for_a_batch_fails(helpers, cpp, network, tmp_path):
  glimpses = network.config.num_glimpses
  seed_spec = tf.TensorSpec([None], tf.int64, "seed")

  @tf.function(input_signature=[images_spec(network)])
  def serving_default(images):
    return network(checked(network, images))

  @tf.function(input_signature=[images_spec(network), seed_spec])
  def attend(images, seed):
    images, seed = checked(network, images), tf.ensure_shape(seed, [None])
    rows = tf.shape(images)[0]
    tf.debugging.Assert(
      tf.shape(seed)[0] == rows, ["seed: must hold one number for each row of images"]
    )
    key = tf.stack([tf.reduce_max(seed), 0])
    uniforms = tf.random.stateless_uniform([1, rows, glimpses, 2], key, 1e-6, alg="philox")
    sequences = network.attend(network.look(images), uniforms)
    return {
      "probabilities": tf.exp(sequences.log_probs[0]),
      "locations": sequences.locations[0],
      "log_prob": sequences.log_prior[0],
    }

  module = module_with(network)
  model_dir = export(
    helpers, tmp_path, network, module, serving_default=serving_default, attend=attend
  )
  failed, output = verify(cpp, model_dir)
  assert failed == {"rows"}
  assert re.search(r"rows: attend\.\w+ in a batch of", output)


def test_a_version_written_over_fails(helpers, cpp, export_dir, tmp_path):
  ours, other = tmp_path / "ours/digits/1", tmp_path / "other/digits/1"
  helpers.write(tmp_path / "other", helpers.make_network(seed=2))
  shutil.copytree(export_dir, tmp_path / "ours")
  shutil.rmtree(ours)
  shutil.copytree(other, ours)
  failed, output = verify(cpp, ours)
  assert failed == {"files"}
  assert "version 1 was written over" in output
  shutil.rmtree(ours)
  shutil.copytree(export_dir / "digits/1", ours)
  shutil.rmtree(ours / "variables")
  shutil.copytree(other / "variables", ours / "variables")
  failed, output = verify(cpp, ours)
  assert failed == {"files", "golden answers"}
  assert "changed, added or removed since the export: variables/variables.data" in output


def test_an_image_decoded_before_its_size_is_known_fails(helpers, cpp, network, tmp_path):
  shape = network.config.image_shape

  def decode(contents):
    pixels = tf.io.decode_image(contents, shape[-1], expand_animations=False)
    right = tf.reduce_all(tf.shape(pixels) == shape)
    with tf.control_dependencies(
      [tf.debugging.Assert(right, ["image_bytes: each image must be 40 pixels high"])]
    ):
      return tf.cast(tf.reshape(pixels, shape), tf.float32) / 255

  @tf.function(input_signature=[images_spec(network)])
  def serving_default(images):
    return network(checked(network, images))

  @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "image_bytes")])
  def classify_bytes(image_bytes):
    image_bytes = tf.ensure_shape(image_bytes, [None])
    return network(tf.map_fn(decode, image_bytes, fn_output_signature=tf.float32))

  module = module_with(network)
  functions = {"serving_default": serving_default, "classify_bytes": classify_bytes}
  model_dir = export(helpers, tmp_path, network, module, **functions)
  failed, output = verify(cpp, model_dir)
  assert {"large image", "refusals"} <= failed
  assert re.search(r"peak memory \+1\d\d\.\d MB; at most 50 MB", output)


def edit_manifest(model_dir, **fields):
  path = model_dir / manifests.MANIFEST_FILE
  path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))
  digests = {"1": manifests.manifest_digest(model_dir)}
  (model_dir.parent / manifests.VERSIONS_FILE).write_text(json.dumps(digests))


def test_a_changed_contract_and_lost_warmup_fail(cpp, export_dir, tmp_path):
  shutil.copytree(export_dir, tmp_path, dirs_exist_ok=True)
  model_dir = tmp_path / "digits/1"
  contract = manifests.read_manifest(model_dir).contract
  contract["serving_default"]["outputs"]["class_name"] = "string [-1]"
  edit_manifest(model_dir, contract=contract, allowed_batch_sizes=[1, 4, 32], weight_bytes=1000)
  failed, output = verify(cpp, model_dir)
  assert failed == {"contract", "warm-up", "size"}
  assert "serving_default.outputs.class_name: string [-1] became absent" in output
  assert "not covered: [('attend', 32)" in output


def test_what_is_no_export_is_said_to_be_none(cpp, export_dir, tmp_path):
  shutil.copytree(export_dir, tmp_path, dirs_exist_ok=True)
  model_dir = tmp_path / "digits/1"
  (model_dir / "saved_model.pb").write_bytes(b"no graph")
  (model_dir / manifests.MANIFEST_FILE).write_text("{}")
  failed, output = verify(cpp, model_dir)
  assert {"files", "contract", "load"} <= failed
  assert "manifest.json: must be a manifest as an export writes it" in output
