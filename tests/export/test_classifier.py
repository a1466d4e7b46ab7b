"""The exported functions, called in Python, agree with the network that they were made from."""

import dataclasses

import keras
import numpy as np
import tensorflow as tf

from tests.support.serving import exports
from wsram_tf.classification import (
  GlimpseConfig,
  LocationConfig,
  PredictionNetwork,
  WakeSleepLearner,
)
from wsram_tf.export import build_signatures, export_classifier, write_version
from wsram_tf.learning.sampling import stateless_uniforms
from wsram_tf.locations import GridLocations, action_size, location_map
from wsram_tf.observations import area_means
from wsram_tf.serving import manifests

# The default network is that of `exports.network()`.
CONFIGS = {
  "gru, learned scale, convolutions": {
    "cell": "gru",
    "location": LocationConfig(location_distribution="normal_learned_scale"),
    "glimpse": GlimpseConfig(8, 3, (4,)),
  },
  "colour, keyed grid": {
    "channels": 3,
    "location": LocationConfig("keyed_grid", location_saliency=0.5, no_return=True),
    "context_side": 10,  # No cell's middle lies between two ways to cut its patch.
  },
  "relu, grid, chosen scale": {
    "cell": "relu",
    "location": LocationConfig(location_distribution="grid"),
    "glimpse": GlimpseConfig(8, 3, choose_scale=True),
  },
}


def images_for(network, num_images=6):
  shape = [num_images, *network.config.image_shape]
  return np.random.RandomState(0).randint(0, 256, shape).astype(np.uint8)


def as_float(images):
  return tf.constant(images.astype(np.float32) / np.float32(255))


def shortened(network):
  """The network after its first glimpse."""
  shorter = PredictionNetwork(dataclasses.replace(network.config, num_glimpses=1))
  shorter.set_weights(network.get_weights())
  return shorter


def uniforms_of(seeds, num_samples, network):
  """The random numbers of each row, drawn one by one: float `[M, B, N, A]`."""
  shape = [num_samples, network.config.num_glimpses, action_size(network.location_distribution)]
  rows = [stateless_uniforms(shape, [seed, 0]) for seed in seeds]
  return tf.stack(rows, axis=1)


def leave_graphs(add_cleanup):
  """Leaves graphs unoptimised until a test ends: called once, the optimisation takes longest."""
  tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
  add_cleanup(tf.config.optimizer.set_experimental_options, {"disable_meta_optimizer": False})


class BuiltSignaturesTest(tf.test.TestCase):
  """The signatures of networks of all kinds."""

  def setUp(self):
    super().setUp()
    # Each signature is called once, and its optimisation takes longer than the call.
    options = {"disable_meta_optimizer": True}
    tf.config.optimizer.set_experimental_options(options)
    self.addCleanup(tf.config.optimizer.set_experimental_options, {"disable_meta_optimizer": False})

  def test_every_kind_of_network(self):
    networks = {name: exports.make_network(**config) for name, config in CONFIGS.items()}
    for name, network in {"default": exports.network(), **networks}.items():
      module, functions = exports.built_signatures(network)
      with self.subTest(config=name):
        self.check_serving_default_is_the_network(network, module, functions)
        self.check_attend_samples_from_the_prior(network, module, functions)
        self.check_classify_averaged_is_the_mean_over_sequences(network, module, functions)
        self.check_classify_bytes_decodes(network, module, functions)
        self.check_classify_stepwise_stops_at_the_threshold(network, module, functions)
        self.check_prior_map_peaks_where_the_network_looks(network, module, functions)
        self.check_begin_and_look_are_the_network(network, module, functions)
        self.check_weights_are_copied_once_and_nothing_else(network, module, functions)

  def check_serving_default_is_the_network(self, network, _, functions):
    images = as_float(images_for(network))
    outputs, expected = functions["serving_default"](images=images), network(images)
    self.assertEqual(outputs.keys(), expected.keys())
    self.assertAllEqual(outputs["class_id"], expected["class_id"])
    self.assertEqual(outputs["class_id"].dtype, tf.int64)
    for name in outputs.keys() - {"class_id"}:
      self.assertAllClose(outputs[name], expected[name], atol=1e-6)

  def check_attend_samples_from_the_prior(self, network, _, functions):
    images, seeds = as_float(images_for(network)), tf.constant([5, -1, 2**62, 0, 5, 6], tf.int64)
    outputs = functions["attend"](images=images, seed=seeds)
    expected = network.attend(network.look(images), uniforms_of(seeds, 1, network))
    self.assertAllClose(outputs["locations"], expected.locations[0], atol=1e-6)
    self.assertEqual("scales" in outputs, network.config.glimpse.chooses_scale)
    if "scales" in outputs:
      self.assertAllEqual(outputs["scales"], expected.scales[0])
      self.assertEqual(outputs["scales"].dtype, tf.int64)
      self.assertGreater(np.ptp(outputs["scales"]), 0)
    self.assertAllClose(outputs["log_prob"], expected.log_prior[0], atol=1e-4)
    self.assertAllClose(outputs["probabilities"], tf.exp(expected.log_probs[0]), atol=1e-6)
    self.assertAllEqual(outputs["class_id"], np.argmax(outputs["probabilities"], -1))

  def check_classify_averaged_is_the_mean_over_sequences(self, network, _, functions):
    images, seeds = as_float(images_for(network)), tf.range(6, dtype=tf.int64)
    outputs = functions["classify_averaged"](images=images, seed=seeds)
    self.assertEqual(outputs.keys(), {"class_id", "probabilities"})
    sequences = network.attend(network.look(images), uniforms_of(seeds, 5, network))
    expected = tf.reduce_mean(tf.exp(sequences.log_probs), axis=0)
    self.assertAllClose(outputs["probabilities"], expected, atol=1e-6)
    self.assertAllEqual(outputs["class_id"], np.argmax(expected, -1))

  def check_classify_bytes_decodes(self, network, _, functions):
    images = images_for(network)
    files = [tf.io.encode_png(image).numpy() for image in images]
    outputs = functions["classify_bytes"](image_bytes=tf.constant(files))
    expected = functions["serving_default"](images=as_float(images))
    for name, output in expected.items():
      self.assertAllClose(outputs[name], output, atol=1e-6)
    jpeg = tf.io.encode_jpeg(images[0], quality=90)
    outputs = functions["classify_bytes"](image_bytes=jpeg[None])
    expected = functions["serving_default"](images=as_float(tf.io.decode_jpeg(jpeg).numpy()[None]))
    self.assertAllClose(outputs["probabilities"], expected["probabilities"], atol=1e-6)

  def check_classify_stepwise_stops_at_the_threshold(self, network, _, functions):
    images = as_float(images_for(network))
    expected = network.classify_stepwise(images)
    sure = np.max(expected["probabilities"], axis=-1)  # [B, N]
    rows = np.arange(len(images))
    # At once, at the first answer of rows where it is the surest, and never.
    for threshold in (np.zeros(len(images)), sure[:, 0] - 1e-3, np.ones(len(images))):
      outputs = functions["classify_stepwise"](
        images=images, threshold=tf.constant(threshold, tf.float32)
      )
      reached = sure >= threshold[:, np.newaxis]
      reached[:, -1] = True
      glimpses = 1 + reached.argmax(axis=1)
      self.assertAllEqual(outputs["glimpses"], glimpses)
      self.assertEqual(outputs["glimpses"].dtype, tf.int64)
      self.assertAllEqual(outputs["class_id"], expected["class_id"].numpy()[rows, glimpses - 1])
      for name in expected.keys() - {"class_id"}:
        self.assertAllClose(outputs[name], expected[name], atol=1e-6)
    none = functions["classify_stepwise"](images=images[:0], threshold=tf.zeros([0]))
    self.assertEqual(none["probabilities"].shape, [0, *sure.shape[1:], network.config.num_classes])

  def check_prior_map_peaks_where_the_network_looks(self, network, _, functions):
    images = as_float(images_for(network))
    outputs = functions["prior_map"](images=images)
    sequences = network.attend(network.look(images))
    self.assertAllClose(outputs["locations"], sequences.locations[0], atol=1e-6)
    expected = location_map(network.location_distribution, sequences.prior_parameters[0])
    self.assertAllClose(outputs["prior"], expected, atol=1e-6)
    rows, columns = expected.shape[-2:]
    peaks = tf.argmax(tf.reshape(outputs["prior"], [len(images), -1, rows * columns]), axis=-1)
    cells = GridLocations(rows, columns).cells(sequences.locations[0])
    self.assertAllEqual(peaks, cells)
    if network.config.location.no_return:
      second = tf.reshape(outputs["prior"][:, 1], [len(images), -1])
      self.assertAllEqual(tf.gather(second, cells[:, 0], batch_dims=1), tf.zeros(len(images)))
    none = functions["prior_map"](images=images[:0])["prior"]
    self.assertEqual(none.shape, [0, *expected.shape[1:]])

  def check_begin_and_look_are_the_network(self, network, _, functions):
    images = as_float(images_for(network))
    copy = area_means(images, network.config.context_side)
    again = {"low_resolution": copy} if network.cell_network else {}
    answer = functions["begin"](low_resolution=copy)
    for so_far in (shortened(network), network):  # The networks take two glimpses.
      expected = so_far(images)
      at = so_far.config.num_glimpses - 1
      self.assertAllClose(answer["location"], expected["locations"][:, at], atol=1e-5)
      scales = None
      self.assertEqual("scale" in answer, network.config.glimpse.chooses_scale)
      if "scale" in answer:
        self.assertAllEqual(answer["scale"], expected["scales"][:, at])
        scales = expected["scales"][:, at : at + 1]
      patches = network.patches(images, expected["locations"][:, at : at + 1], scales)[:, 0]
      answer = functions["look"](state=answer["state"], patches=patches, **again)
      self.assertAllClose(answer["probabilities"], expected["probabilities"], atol=1e-5)
      self.assertAllEqual(answer["class_id"], expected["class_id"])

  def check_weights_are_copied_once_and_nothing_else(self, network, module, functions):
    weights = {weight.path: weight.numpy() for weight in network.weights}
    self.assertEqual(len(module.variables), len(weights))
    for variable in module.variables:
      path = variable.name.removesuffix(":0").replace(".", "/")
      self.assertAllEqual(variable, weights.pop(path))
    ours = {id(variable) for variable in module.variables}
    for function in functions.values():
      self.assertLessEqual({id(variable) for variable in function.graph.variables}, ours)


class SignaturesTest(tf.test.TestCase):
  def test_a_network_that_learns_on_leaves_the_export_alone(self):
    network = exports.make_network(num_glimpses=1)
    _module, functions = build_signatures(network, averaged_samples=1)
    images = as_float(images_for(network))
    before = functions["serving_default"](images=images)["probabilities"].numpy()
    for weight in network.weights:
      weight.assign(weight + 0.3)
    after = functions["serving_default"](images=images)["probabilities"].numpy()
    self.assertAllEqual(before, after)

  def test_training_leaves_no_trace(self):
    tmp_path = exports.temporary_folder(self)
    learner = WakeSleepLearner(exports.make_network(num_glimpses=1).config)
    learner.compile(keras.optimizers.Adam(1e-3), run_eagerly=True)
    images = as_float(images_for(learner.prediction_network)).numpy()
    learner.fit(images, np.arange(6) % 10, batch_size=6, verbose=0)
    exports.write(tmp_path, learner.prediction_network)
    index = (tmp_path / "digits/1/variables/variables.index").read_bytes()
    self.assertEqual(index.count(b"VARIABLE_VALUE"), len(learner.prediction_network.weights))
    graph = (tmp_path / "digits/1/saved_model.pb").read_bytes()
    for word in (b"_XlaMustCompile", b"inference_network", b"seed_generator", b"adam"):
      self.assertNotIn(word, graph)

  def test_signatures_share_their_body(self):
    _module, functions = exports.built_signatures(exports.network())
    inner = {
      name: {
        op.get_attr("f").name
        for op in function.graph.get_operations()
        if op.type == "StatefulPartitionedCall"
      }
      for name, function in functions.items()
    }
    self.assertTrue(inner["serving_default"])
    self.assertEqual(inner["serving_default"], inner["classify_bytes"])
    self.assertEqual(inner["attend"], inner["classify_averaged"])

  def test_channels_that_no_file_holds(self):
    # With 2 channels a whole export is written below.
    network = exports.make_network(channels=4, num_glimpses=1)
    _module, functions = build_signatures(network, averaged_samples=1)
    files = {"classify_bytes"}
    self.assertEqual(files & functions.keys(), set())
    self.assertEqual(
      files | functions.keys(), exports.built_signatures(exports.network())[1].keys()
    )

  def test_averaged_samples_below_1(self):
    network = exports.network()
    with self.assertRaisesRegex(ValueError, "averaged_samples=0: must be at least 1"):
      build_signatures(network, averaged_samples=0)

  def test_names_of_classes_are_answered(self):
    leave_graphs(self.addCleanup)
    network = exports.one_glimpse_network()
    names = [f"class {label}" for label in range(9)] + ["größer"]
    module, functions = build_signatures(network, 2, names)
    images = images_for(network)
    copy = area_means(as_float(images), network.config.context_side)
    inputs = {
      "images": as_float(images),
      "image_bytes": tf.stack([tf.io.encode_png(image) for image in images]),
      "seed": tf.range(6, dtype=tf.int64),
      "threshold": tf.fill([6], 0.5),
      "low_resolution": copy,
      "state": functions["begin"](low_resolution=copy)["state"],
      "patches": tf.random.stateless_uniform([6, 2, 8, 8, 1], [1, 2]),
    }
    for name, function in functions.items():
      if name in ("begin", "prior_map"):  # They answer no class.
        continue
      specs = tf.nest.flatten(function.structured_input_signature)
      outputs = function(**{spec.name: inputs[spec.name] for spec in specs})
      answered = [name.decode() for name in outputs["class_name"].numpy()]
      self.assertEqual(answered, [names[label] for label in outputs["class_id"]])
      self.assertEqual(function.structured_outputs["class_name"].shape.as_list(), [None])
    # Another name is another answer, which the verification finds.
    facts = exports.make_facts(network, class_names=names)
    one = {"serving_default": functions["serving_default"]}
    model_dir = write_version(exports.temporary_folder(self), module, one, facts)
    with np.load(model_dir / manifests.GOLDEN_FILE) as stored:
      golden = dict(stored)
    golden["serving_default/class_name"][0] = b"other"
    np.savez_compressed(model_dir / manifests.GOLDEN_FILE, **golden)
    self.assertFalse(exports.cpp().verify(model_dir)["golden answers"][0])

  def test_names_that_are_not_one_a_class(self):
    network = exports.network()
    with self.assertRaisesRegex(ValueError, "class_names: must be 10, one for each class; got 2"):
      build_signatures(network, 1, ["a", "b"])


class ExportClassifierTest(tf.test.TestCase):
  def setUp(self):
    super().setUp()
    self.folder = exports.temporary_folder(self)

  def test_a_network_is_exported_without_a_run(self):
    lines = []
    model_dir = export_classifier(
      exports.make_network(channels=2, num_glimpses=1),
      self.folder,
      "two",
      verify=False,
      source="test",
      report=lines.append,
    )
    manifest = manifests.read_manifest(model_dir)
    self.assertEqual((manifest.facts.source, manifest.facts.test_error_percent), ("test", None))
    signatures = exports.built_signatures(exports.network())[1].keys()
    self.assertEqual(manifest.contract.keys(), signatures - {"classify_bytes"})
    self.assertEqual(manifest.facts.allowed_batch_sizes, [1, 4, 16, 64])
    expected = [
      "classify_bytes is left out: no image file holds 2 channels",
      f"Exported {model_dir}",
      f"How to serve it: {self.folder / 'README.md'}",
    ]
    self.assertEqual(lines, expected)

  def test_another_contract_is_refused(self):
    models = exports.copied_models(self.folder)
    with self.assertRaisesRegex(ValueError, "a new version must keep the contract") as caught:
      export_classifier(exports.make_network(num_glimpses=1), models, "digits")
    change = "attend.outputs.locations: float32 [-1, 2, 2] became float32 [-1, 1, 2]"
    self.assertIn(change, str(caught.exception))
    self.assertEqual(manifests.version_numbers(models / "digits"), [1])

  def test_wrong_arguments_are_refused(self):
    for given, words in (
      ({"name": "7"}, "name='7': must be a letter, then letters, digits"),
      ({"averaged_samples": 0}, "averaged_samples=0: must be at least 1"),
      ({"allowed_batch_sizes": (1, 8, 4)}, "allowed_batch_sizes=1,8,4: must be whole numbers"),
      ({"run": self.folder / "none"}, "holds no finished run"),
      ({"run": None}, "run_dir=None: must be a path"),
    ):
      arguments = {"run": exports.network(), "export_dir": self.folder / "models", "name": "a"}
      with self.subTest(words), self.assertRaisesRegex(ValueError, words):
        export_classifier(**{**arguments, **given})
    self.assertFalse((self.folder / "models").exists())


if __name__ == "__main__":
  tf.test.main()
