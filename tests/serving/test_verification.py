"""Verification passes the exports of this package, and finds the faults of broken ones."""

import atexit
import functools
import json
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

import tensorflow as tf

from tests.support.serving import exports
from wsram_tf.classification import GlimpseConfig
from wsram_tf.export import write_version
from wsram_tf.serving import examples, manifests, models
from wsram_tf.serving.verification import verify

CHECKS = [
  "files",
  "contract",
  "size",
  "load",
  "large image",
  "warm-up",
  "golden answers",
  "steps",
  "rows",
  "seeds",
  "refusals",
  "imports",
]


# The runtime optimises the graph of each signature anew, which takes most of a verification.
ONE_SIGNATURE = {"signatures": ("serving_default",)}


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


def export(export_dir, network, module, **functions):
  """Writes a version of whatever functions, with all that belongs to it."""
  functions = {name: function.get_concrete_function() for name, function in functions.items()}
  facts = exports.make_facts(network)
  return write_version(export_dir, module, functions, facts)


def edit_manifest(model_dir, **fields):
  path = model_dir / manifests.MANIFEST_FILE
  path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))
  digests = {"1": manifests.manifest_digest(model_dir)}
  (model_dir.parent / manifests.VERSIONS_FILE).write_text(json.dumps(digests))


@functools.cache
def small_version():
  """An export of one signature; tests only read it."""
  folder = pathlib.Path(tempfile.mkdtemp())
  atexit.register(shutil.rmtree, folder)
  return exports.write(folder, exports.network(), **ONE_SIGNATURE)


class ProgramTest(tf.test.TestCase):
  def test_the_program_passes_a_fresh_export_and_imports_no_tensorflow(self):
    command = [sys.executable, "-X", "importtime", exports.ROOT / "export/verify.py"]
    done = subprocess.run(
      [*command, f"--model_dir={small_version()}"],
      capture_output=True,
      text=True,
      env=exports.ENVIRONMENT,
      check=False,
    )
    self.assertEqual(done.returncode, 0, done.stdout)
    self.assertEqual(re.findall(r"^(\S.*?) +ok ", done.stdout, re.MULTILINE), CHECKS)
    self.assertIn("batches of 0, 1, 3, 64, 1000", done.stdout)
    self.assertEndsWith(done.stdout, "\nverified\n")
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    self.assertIn("numpy", imported)
    self.assertFalse({name.partition(".")[0] for name in imported} & {"tensorflow", "keras"})

  def test_the_program_fails_with_an_export(self):
    model_dir = exports.temporary_folder(self) / "1"
    shutil.copytree(small_version(), model_dir)
    (model_dir / "assets.extra/golden.npz").unlink()
    done = exports.run_program("verify.py", f"--model_dir={model_dir}")
    self.assertEqual(done.returncode, 1)
    pattern = r"(?m)^files +FAILED changed, added or removed .*golden.npz$"
    self.assertRegex(done.stdout, pattern)
    self.assertRegex(done.stdout, r"(?m)^rows +FAILED not done: it needs the loaded model")
    self.assertEndsWith(done.stdout, "\nFAILED: do not serve it\n")
    wrong = model_dir / "assets.extra"
    done = exports.run_program("verify.py", f"--model_dir={wrong}")
    self.assertEqual(done.returncode, 1)
    self.assertIn(f"{wrong}: must be a folder that holds saved_model.pb", done.stderr)
    self.assertIn("\n  --model_dir ", exports.run_program("verify.py", "--help").stdout)


class VerifyTest(tf.test.TestCase):
  """`verify` in a process that has imported TensorFlow."""

  def test_checks_run_elsewhere_and_xla_stays_on(self):
    checks = list(verify(small_version()))
    self.assertEqual([check.name for check in checks], CHECKS)
    self.assertEqual([check.detail for check in checks if not check.passed], [])
    self.assert_xla_is_on()

  def test_an_export_that_answers_here_leaves_xla_on(self):
    image = examples.png_bytes(examples.example_images(40, 36, 1)[0])
    answer = models.ExportedModel(exports.model_dir()).ask([image])
    self.assertEqual(answer["probabilities"].shape, (1, 10))
    self.assert_xla_is_on()

  def assert_xla_is_on(self):
    compiled = tf.function(lambda x: 2 * x, jit_compile=True)
    self.assertAllEqual(compiled(tf.constant([1.0])), [2.0])

  def test_a_process_that_ends_early_is_a_failure(self):
    (check,) = verify(exports.temporary_folder(self))
    self.assertEqual((check.name, check.passed), ("process", False))
    self.assertRegex(check.detail, "ended early, status 1: .*must be a folder that holds saved_mod")


class VerificationTest(tf.test.TestCase):
  def setUp(self):
    super().setUp()
    self.folder = exports.temporary_folder(self)

  def verify(self, model_dir):
    """The names of the checks that failed, and all details, one a line."""
    found = exports.cpp().verify(model_dir)
    self.assertEqual(list(found), CHECKS)
    failed = {name for name, (passed, _) in found.items() if not passed}
    return failed, "\n".join(f"{name}: {detail}" for name, (_, detail) in found.items())

  def test_sound_functions_of_the_same_form_pass(self):
    # The faults of the tests below are therefore those that each of them makes.
    network = exports.one_glimpse_network()

    @tf.function(autograph=False, input_signature=[images_spec(network)])
    def serving_default(images):
      return network(checked(network, images))

    module = module_with(network)
    model_dir = export(self.folder, network, module, serving_default=serving_default)
    failed, output = self.verify(model_dir)
    self.assertFalse(failed, output)

  def test_convolutions_pass(self):
    # Merged with their bias by a server's optimiser, convolutions fail without images.
    glimpse = GlimpseConfig(glimpse_side=8, glimpse_filters=(32, 32))
    # The others share the convolutions of these. In bfloat16, `attend` cuts its patches as
    # `serving_default` does.
    signatures = ("serving_default", "begin", "look")
    for precision, more in (("float32", ("attend",)), ("bfloat16", ())):
      with self.subTest(precision=precision):
        network = exports.make_network(glimpse=glimpse, precision=precision, num_glimpses=1)
        model_dir = exports.write(self.folder / precision, network, signatures=(*signatures, *more))
        failed, details = self.verify(model_dir)
        self.assertFalse(failed, details)

  def test_a_model_tracked_whole_fails(self):
    network = exports.make_network(num_glimpses=1)

    @tf.function(autograph=False, input_signature=[images_spec(network)])
    def serving_default(images):
      return network(checked(network, images))

    module = tf.Module()
    module.network = network
    model_dir = export(self.folder, network, module, serving_default=serving_default)
    failed, output = self.verify(model_dir)
    self.assertLessEqual({"golden answers", "warm-up"}, failed)
    self.assertIn("Could not find variable", output)

  def test_a_compiled_function_fails(self):
    network = exports.one_glimpse_network()

    @tf.function(autograph=False, input_signature=[images_spec(network)])
    def serving_default(images):
      return tf.function(network, jit_compile=True)(checked(network, images))

    module = module_with(network)
    model_dir = export(self.folder, network, module, serving_default=serving_default)
    failed, output = self.verify(model_dir)
    self.assertLessEqual({"golden answers", "warm-up"}, failed)
    self.assertIn("XLA compilation disabled", output)

  def test_unchecked_shapes_fail(self):
    network = exports.one_glimpse_network()

    @tf.function(autograph=False, input_signature=[images_spec(network)])
    def serving_default(images):
      return network(tf.debugging.assert_all_finite(images, "images: must be finite"))

    module = module_with(network)
    model_dir = export(self.folder, network, module, serving_default=serving_default)
    failed, output = self.verify(model_dir)
    self.assertEqual(failed, {"refusals"})
    self.assertRegex(output, r"serving_default\.images, \w+.*: ")

  def test_values_quietly_replaced_fail(self):
    network = exports.one_glimpse_network()

    @tf.function(autograph=False, input_signature=[images_spec(network)])
    def serving_default(images):
      images = tf.ensure_shape(images, images_spec(network).shape)
      return network(tf.where(tf.math.is_finite(images), images, 0.0))

    module = module_with(network)
    model_dir = export(self.folder, network, module, serving_default=serving_default)
    failed, output = self.verify(model_dir)
    self.assertEqual(failed, {"refusals"})
    self.assertIn("serving_default.images, NaN: answered instead of refused", output)

  def test_one_seed_for_a_batch_and_wrong_patches_fail(self):
    network = exports.network()
    glimpses = network.config.num_glimpses
    seed_spec = tf.TensorSpec([None], tf.int64, "seed")

    @tf.function(autograph=False, input_signature=[images_spec(network)])
    def serving_default(images):
      return network(checked(network, images))

    @tf.function(autograph=False, input_signature=[images_spec(network), seed_spec])
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
    module.built, built = exports.built_signatures(network)

    @tf.function(autograph=False, input_signature=built["look"].structured_input_signature[0])
    def look(state, patches):
      # The runtime names the tensor whose shape is wrong.
      return built["look"](state=state, patches=tf.multiply(0.5, patches, name="patches"))

    # A function again, for `export`.
    begin = tf.function(
      lambda low_resolution: built["begin"](low_resolution=low_resolution),
      input_signature=built["begin"].structured_input_signature[0],
    )
    functions = {"attend": attend, "serving_default": serving_default, "begin": begin, "look": look}
    failed, output = self.verify(export(self.folder, network, module, **functions))
    self.assertEqual(failed, {"rows", "steps"})
    self.assertRegex(output, r"rows: attend\.\w+ in a batch of")
    self.assertRegex(output, r"steps: look\.\w+ after all glimpses: rows")

  def test_a_version_written_over_fails(self):
    right = exports.write(self.folder / "right", exports.network(), **ONE_SIGNATURE)
    other = exports.write_other_weights(self.folder / "other", **ONE_SIGNATURE)
    shutil.copytree(self.folder / "right", self.folder / "ours")
    ours = self.folder / "ours/digits/1"
    shutil.rmtree(ours)
    shutil.copytree(other, ours)
    failed, output = self.verify(ours)
    self.assertEqual(failed, {"files"})
    self.assertIn("version 1 was written over", output)
    shutil.rmtree(ours)
    shutil.copytree(right, ours)
    shutil.rmtree(ours / "variables")
    shutil.copytree(other / "variables", ours / "variables")
    failed, output = self.verify(ours)
    self.assertEqual(failed, {"files", "golden answers"})
    self.assertIn("changed, added or removed since the export: variables/variables.data", output)

  def test_an_image_decoded_before_its_size_is_known_fails(self):
    network = exports.one_glimpse_network()
    shape = network.config.image_shape

    def decode(contents):
      pixels = tf.io.decode_image(contents, shape[-1], expand_animations=False)
      right = tf.reduce_all(tf.shape(pixels) == shape)
      with tf.control_dependencies(
        [tf.debugging.Assert(right, ["image_bytes: each image must be 40 pixels high"])]
      ):
        return tf.cast(tf.reshape(pixels, shape), tf.float32) / 255

    @tf.function(autograph=False, input_signature=[images_spec(network)])
    def serving_default(images):
      return network(checked(network, images))

    @tf.function(autograph=False, input_signature=[tf.TensorSpec([None], tf.string, "image_bytes")])
    def classify_bytes(image_bytes):
      image_bytes = tf.ensure_shape(image_bytes, [None])
      return network(tf.map_fn(decode, image_bytes, fn_output_signature=tf.float32))

    module = module_with(network)
    functions = {"serving_default": serving_default, "classify_bytes": classify_bytes}
    model_dir = export(self.folder, network, module, **functions)
    failed, output = self.verify(model_dir)
    self.assertLessEqual({"large image", "refusals"}, failed)
    self.assertRegex(output, r"peak memory \+1\d\d\.\d MB; at most 50 MB")

  def test_a_changed_contract_and_lost_warmup_fail(self):
    model_dir = exports.write(self.folder, exports.network(), **ONE_SIGNATURE)
    contract = manifests.read_manifest(model_dir).contract
    contract["serving_default"]["outputs"]["class_name"] = "string [-1]"
    edit_manifest(model_dir, contract=contract, allowed_batch_sizes=[1, 4, 32], weight_bytes=1000)
    failed, output = self.verify(model_dir)
    self.assertEqual(failed, {"contract", "warm-up", "size"})
    self.assertIn("serving_default.outputs.class_name: string [-1] became absent", output)
    self.assertIn("not covered: [('serving_default', 32)", output)

  def test_a_damaged_export_fails_by_name(self):
    exports.copied_models(self.folder)
    model_dir = self.folder / "digits/1"
    (model_dir / "saved_model.pb").write_bytes(b"no graph")
    (model_dir / manifests.MANIFEST_FILE).write_text("{}")
    failed, output = self.verify(model_dir)
    self.assertLessEqual({"files", "contract", "load"}, failed)
    self.assertIn("manifest.json: must be a manifest as an export writes it", output)
    for name in ("contract", "size", "load"):
      self.assertIn(f"{name}: not done: it needs the manifest", output)
    self.assertIn("rows: not done: it needs the loaded model", output)


if __name__ == "__main__":
  tf.test.main()
