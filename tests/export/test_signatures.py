"""The exported functions, called in Python, against the network that they were made from."""

import keras
import numpy as np
import pytest
import signatures
import tensorflow as tf

import wsram_tf
from wsram_tf.learning.sampling import stateless_uniforms

CONFIGS = {
  "default": {},
  "colour": {"channels": 3},
  "gru": {"cell": "gru"},
  "grid": {"location": wsram_tf.LocationConfig(location_distribution="grid")},
  "learned scale": {
    "location": wsram_tf.LocationConfig(location_distribution="normal_learned_scale")
  },
  "keyed grid": {
    "location": wsram_tf.LocationConfig(location_distribution="keyed_grid"),
    "context_side": 10,  # No cell's middle lies between two ways to cut its patch.
  },
  "convolutions": {"glimpse": wsram_tf.GlimpseConfig(8, 3, (4,))},
}


@pytest.fixture(scope="module", params=CONFIGS)
def built(request, helpers):
  network = helpers.make_network(**CONFIGS[request.param])
  return network, *signatures.build_signatures(network, averaged_samples=5)


def images_for(network, num_images=6):
  shape = [num_images, *network.config.image_shape]
  return np.random.RandomState(0).randint(0, 256, shape).astype(np.uint8)


def as_float(images):
  return tf.constant(images.astype(np.float32) / np.float32(255))


def uniforms_of(seeds, num_samples, num_glimpses):
  """The random numbers of each row, drawn one by one: float `[M, B, N, 2]`."""
  rows = [stateless_uniforms([num_samples, num_glimpses, 2], [seed, 0]) for seed in seeds]
  return tf.stack(rows, axis=1)


def test_serving_default_is_the_network(built):
  network, _, functions = built
  images = as_float(images_for(network))
  outputs, expected = functions["serving_default"](images=images), network(images)
  assert outputs.keys() == expected.keys()
  np.testing.assert_array_equal(outputs["class_id"], expected["class_id"])
  assert outputs["class_id"].dtype == tf.int64
  for name in ("probabilities", "locations"):
    np.testing.assert_allclose(outputs[name], expected[name], atol=1e-6)


def test_attend_samples_from_the_prior(built):
  network, _, functions = built
  images, seeds = as_float(images_for(network)), tf.constant([5, -1, 2**62, 0, 5, 6], tf.int64)
  outputs = functions["attend"](images=images, seed=seeds)
  expected = network.attend(
    network.look(images), uniforms_of(seeds, 1, network.config.num_glimpses)
  )
  np.testing.assert_allclose(outputs["locations"], expected.locations[0], atol=1e-6)
  np.testing.assert_allclose(outputs["log_prob"], expected.log_prior[0], atol=1e-4)
  np.testing.assert_allclose(outputs["probabilities"], tf.exp(expected.log_probs[0]), atol=1e-6)
  np.testing.assert_array_equal(outputs["class_id"], np.argmax(outputs["probabilities"], -1))


def test_classify_averaged_is_the_mean_over_sequences(built):
  network, _, functions = built
  images, seeds = as_float(images_for(network)), tf.range(6, dtype=tf.int64)
  outputs = functions["classify_averaged"](images=images, seed=seeds)
  assert outputs.keys() == {"class_id", "probabilities"}
  sequences = network.attend(
    network.look(images), uniforms_of(seeds, 5, network.config.num_glimpses)
  )
  expected = tf.reduce_mean(tf.exp(sequences.log_probs), axis=0)
  np.testing.assert_allclose(outputs["probabilities"], expected, atol=1e-6)
  np.testing.assert_array_equal(outputs["class_id"], np.argmax(expected, -1))


def test_classify_bytes_decodes(built):
  network, _, functions = built
  images = images_for(network)
  files = [tf.io.encode_png(image).numpy() for image in images]
  outputs = functions["classify_bytes"](image_bytes=tf.constant(files))
  expected = functions["serving_default"](images=as_float(images))
  for name, output in expected.items():
    np.testing.assert_allclose(outputs[name], output, atol=1e-6)
  jpeg = tf.io.encode_jpeg(images[0], quality=90)
  outputs = functions["classify_bytes"](image_bytes=jpeg[None])
  expected = functions["serving_default"](images=as_float(tf.io.decode_jpeg(jpeg).numpy()[None]))
  np.testing.assert_allclose(outputs["probabilities"], expected["probabilities"], atol=1e-6)


def test_weights_are_copied_once_and_nothing_else(built):
  network, module, functions = built
  weights = {weight.path: weight.numpy() for weight in network.weights}
  assert len(module.variables) == len(weights)
  for variable in module.variables:
    path = variable.name.removesuffix(":0").replace(".", "/")
    np.testing.assert_array_equal(variable, weights.pop(path))
  ours = {id(variable) for variable in module.variables}
  for function in functions.values():
    assert {id(variable) for variable in function.graph.variables} <= ours


def test_a_network_that_learns_on_leaves_the_export_alone(helpers):
  network = helpers.make_network()
  _module, functions = signatures.build_signatures(network, averaged_samples=1)
  images = as_float(images_for(network))
  before = functions["serving_default"](images=images)["probabilities"].numpy()
  for weight in network.weights:
    weight.assign(weight + 0.3)
  after = functions["serving_default"](images=images)["probabilities"].numpy()
  np.testing.assert_array_equal(before, after)


def test_training_leaves_no_trace(helpers, tmp_path):
  learner = wsram_tf.WakeSleepLearner(helpers.make_network().config)
  learner.compile(keras.optimizers.Adam(1e-3), run_eagerly=True)
  images = as_float(images_for(learner.prediction_network)).numpy()
  learner.fit(images, np.arange(6) % 10, batch_size=6, verbose=0)
  helpers.write(tmp_path, learner.prediction_network)
  index = (tmp_path / "digits/1/variables/variables.index").read_bytes()
  assert index.count(b"VARIABLE_VALUE") == len(learner.prediction_network.weights)
  graph = (tmp_path / "digits/1/saved_model.pb").read_bytes()
  for word in (b"_XlaMustCompile", b"inference_network", b"seed_generator", b"adam"):
    assert word not in graph


def test_signatures_share_their_body(network):
  _module, functions = signatures.build_signatures(network, averaged_samples=5)
  inner = {
    name: {
      op.get_attr("f").name
      for op in function.graph.get_operations()
      if op.type == "StatefulPartitionedCall"
    }
    for name, function in functions.items()
  }
  assert inner["serving_default"]
  assert inner["serving_default"] == inner["classify_bytes"]
  assert inner["attend"] == inner["classify_averaged"]


@pytest.mark.parametrize("channels", [2, 4])
def test_channels_that_no_file_holds(helpers, channels):
  network = helpers.make_network(channels=channels)
  _module, functions = signatures.build_signatures(network, averaged_samples=1)
  assert functions.keys() == {"serving_default", "attend", "classify_averaged"}


def test_averaged_samples_below_1(network):
  with pytest.raises(ValueError, match="averaged_samples=0: must be at least 1"):
    signatures.build_signatures(network, averaged_samples=0)


def test_names_of_classes_are_told(helpers, network):
  names = [f"class {label}" for label in range(9)] + ["größer"]
  _module, functions = signatures.build_signatures(network, 2, names)
  images = as_float(images_for(network))
  for function in functions.values():
    inputs = [spec.name for spec in tf.nest.flatten(function.structured_input_signature)]
    if "image_bytes" in inputs:
      files = [tf.io.encode_png(image) for image in images_for(network)]
      outputs = function(image_bytes=tf.stack(files))
    else:
      seed = {"seed": tf.range(6, dtype=tf.int64)} if "seed" in inputs else {}
      outputs = function(images=images, **seed)
    told = [name.decode() for name in outputs["class_name"].numpy()]
    assert told == [names[label] for label in outputs["class_id"]]
    assert function.structured_outputs["class_name"].shape.as_list() == [None]


def test_names_that_are_not_one_a_class(network):
  with pytest.raises(ValueError, match="class_names: must be 10, one for each class; got 2"):
    signatures.build_signatures(network, 1, ["a", "b"])
