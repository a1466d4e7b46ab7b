"""The contract of all layers: configs, files, gradients, dtypes, compilation, batch sizes."""

import json
import os
from collections.abc import Callable
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from wsram_tf import layers
from wsram_tf.captions.grid_network import GridNetwork


class Case(NamedTuple):
  """One layer under test.

  `rows` returns the call's arguments, a list of arrays `[R, ...]`. `apply` calls the layer on
  tensors and returns a list of tensors `[R, ...]`.
  """

  make: Callable[[], keras.layers.Layer]
  rows: Callable[[int], list[np.ndarray]]
  apply: Callable[..., list[tf.Tensor]]


def _normal(*shape: int) -> np.ndarray:
  return np.random.default_rng(0).normal(size=shape)


def _locations(count: int) -> np.ndarray:
  return np.random.default_rng(1).uniform(-1.2, 1.2, [count, 2])


def _step(core: layers.RecurrentCore, inputs: tf.Tensor, *states: tf.Tensor) -> list[tf.Tensor]:
  half = len(states) // 2
  lower, upper = core(inputs, layers.CoreState(list(states[:half]), list(states[half:])))
  return [*lower, *upper]


CASES = {
  "baseline_network": Case(
    lambda: layers.BaselineNetwork(units=4),
    lambda rows: [_normal(rows, 5)],
    lambda layer, upper: [layer(upper)],
  ),
  "baseline_network of parts": Case(
    lambda: layers.BaselineNetwork(units=4, reads_parts=True),
    lambda rows: [_normal(rows, 6, 5), _normal(rows, 6, 3)],
    lambda layer, upper, parts: list(layer(upper, parts)),
  ),
  "cell_location_network": Case(
    lambda: layers.CellLocationNetwork(units=4),
    lambda rows: [_normal(rows, 6, 4), _normal(rows, 5)],
    lambda layer, keys, states: [layer(keys, states)],
  ),
  "cell_location_network with scales": Case(
    lambda: layers.CellLocationNetwork(units=4, num_scales=3),
    lambda rows: [_normal(rows, 6, 4), _normal(rows, 5)],
    lambda layer, keys, states: [layer(keys, states)],
  ),
  "cell_network": Case(
    lambda: layers.CellNetwork(units=4, filters=(3,)),
    lambda rows: [_normal(rows, 5, 5, 2)],
    lambda layer, low_resolution: [layer(low_resolution)],
  ),
  "classifier": Case(
    lambda: layers.Classifier(3),
    lambda rows: [_normal(rows, 5)],
    lambda layer, lower: [layer(lower)],
  ),
  "context_network lstm": Case(
    lambda: layers.ContextNetwork(side=3, units=5, num_states=2),
    lambda rows: [_normal(rows, 3, 3, 2)],
    lambda layer, low_resolution: layer(low_resolution),
  ),
  "context_network gru": Case(
    lambda: layers.ContextNetwork(side=3, units=5, num_states=1),
    lambda rows: [_normal(rows, 3, 3, 2)],
    lambda layer, low_resolution: layer(low_resolution),
  ),
  "context_network relu": Case(
    lambda: layers.ContextNetwork(side=3, units=5, num_states=1, activation="relu"),
    lambda rows: [_normal(rows, 3, 3, 2)],
    lambda layer, low_resolution: layer(low_resolution),
  ),
  "glimpse_network dense": Case(
    lambda: layers.GlimpseNetwork(units=9),
    lambda rows: [_normal(rows, 2, 5, 5, 3), _locations(rows)],
    lambda layer, patches, locations: [layer(patches, locations)],
  ),
  "glimpse_network convolutional": Case(
    lambda: layers.GlimpseNetwork(units=9, filters=(4, 3)),
    lambda rows: [_normal(rows, 2, 5, 5, 3), _locations(rows)],
    lambda layer, patches, locations: [layer(patches, locations)],
  ),
  "glimpse_sensor": Case(
    lambda: layers.GlimpseSensor(side=3, scales=2),
    lambda rows: [_normal(rows, 9, 11, 2), _locations(rows)],
    lambda layer, images, locations: [layer(layer.prepare(images), locations)],
  ),
  "glimpse_sensor of a chosen scale": Case(
    lambda: layers.GlimpseSensor(side=3, scales=2, choose_scale=True),
    lambda rows: [_normal(rows, 9, 11, 2), np.insert(_locations(rows), 2, np.arange(rows) % 2, 1)],
    lambda layer, images, locations: [layer(layer.prepare(images), locations)],
  ),
  "grid_network of images": Case(
    lambda: GridNetwork(units=5, filters=(3, 4), reach=3),
    lambda rows: [_normal(rows, 8, 12, 2)],
    lambda layer, images: [layer(images)],
  ),
  "grid_network of grids": Case(
    lambda: GridNetwork(units=5, places="smooth"),
    lambda rows: [_normal(rows, 2, 3, 7)],
    lambda layer, grids: [layer(grids)],
  ),
  "location_network": Case(
    lambda: layers.LocationNetwork(num_parameters=4),
    lambda rows: [_normal(rows, 5)],
    lambda layer, upper: [layer(upper)],
  ),
  "recurrent_core lstm": Case(
    lambda: layers.RecurrentCore(units=5, cell="lstm"),
    lambda rows: [_normal(rows, 4), *([_normal(rows, 5)] * 4)],
    _step,
  ),
  "recurrent_core gru": Case(
    lambda: layers.RecurrentCore(units=5, cell="gru"),
    lambda rows: [_normal(rows, 4), *([_normal(rows, 5)] * 2)],
    _step,
  ),
  "recurrent_core relu": Case(
    lambda: layers.RecurrentCore(units=5, cell="relu"),
    lambda rows: [_normal(rows, 4), *([_normal(rows, 5)] * 2)],
    _step,
  ),
}


def _called(case: Case) -> tuple[keras.layers.Layer, list[tf.Tensor], list[tf.Tensor]]:
  """Makes and calls a layer; returns it with its arguments and results."""
  layer = case.make()
  arguments = [tf.constant(array) for array in case.rows(4)]
  return layer, arguments, case.apply(layer, *arguments)


class LayerConformanceTest(tf.test.TestCase):
  def setUp(self):
    super().setUp()
    self.addCleanup(keras.config.set_dtype_policy, keras.config.dtype_policy())
    keras.config.set_dtype_policy("float64")
    keras.utils.set_random_seed(0)

  def test_covers_every_layer(self):
    public = {getattr(layers, name) for name in layers.__all__} | {GridNetwork}
    expected = {c for c in public if isinstance(c, type) and issubclass(c, keras.layers.Layer)}
    self.assertEqual({type(case.make()) for case in CASES.values()}, expected)

  def test_config_round_trip(self):
    for name, case in CASES.items():
      with self.subTest(name):
        layer, arguments, results = _called(case)
        config = layer.get_config()
        copy = type(layer).from_config(json.loads(json.dumps(config)))
        self.assertEqual(copy.get_config(), config)
        case.apply(copy, *arguments)
        self.assertEqual([w.shape for w in copy.weights], [w.shape for w in layer.weights])
        copy.set_weights(layer.get_weights())
        self.assertAllEqual(case.apply(copy, *arguments), results)

  def test_saved_and_loaded_inside_a_model(self):
    for name, case in CASES.items():
      with self.subTest(name):
        layer, arguments, results = _called(case)
        if isinstance(layer, layers.GlimpseSensor):
          arguments[0] = layer.prepare(arguments[0])
        if isinstance(layer, layers.RecurrentCore):
          continue  # Keras turns its state into plain lists; the tests of the models save it.
        inputs = [keras.Input(argument.shape[1:], dtype=argument.dtype) for argument in arguments]
        path = os.path.join(self.get_temp_dir(), "model.keras")
        keras.Model(inputs, layer(*inputs)).save(path)
        loaded = keras.saving.load_model(path)
        self.assertAllEqual(tf.nest.flatten(loaded(arguments)), results)

  def test_gradient_reaches_every_weight(self):
    for name, case in CASES.items():
      with self.subTest(name):
        layer, arguments, results = _called(case)
        scales = [tf.constant(_normal(*result.shape)) for result in results]
        with tf.GradientTape() as tape:
          parts = zip(case.apply(layer, *arguments), scales, strict=True)
          total = tf.add_n([tf.reduce_sum(result * scale) for result, scale in parts])
        gradients = tape.gradient(total, layer.trainable_weights)
        self.assertEqual(len(layer.trainable_weights), len(layer.weights))
        for weight, gradient in zip(layer.trainable_weights, gradients, strict=True):
          self.assertIsNotNone(gradient, weight.path)
          self.assertGreater(np.abs(gradient).max(), 0.0, weight.path)

  def test_keeps_the_dtype(self):
    for dtype in ("float32", "float64"):
      keras.config.set_dtype_policy(dtype)
      for name, case in CASES.items():
        with self.subTest(f"{name} {dtype}"):
          arguments = [tf.constant(array, dtype) for array in case.rows(2)]
          layer = case.make()
          self.assertEqual({t.dtype for t in case.apply(layer, *arguments)}, {tf.as_dtype(dtype)})
          self.assertLessEqual({w.dtype for w in layer.weights}, {dtype})

  def test_compiled(self):
    for name, case in CASES.items():
      with self.subTest(name):
        layer, arguments, results = _called(case)

        def apply(*tensors, layer=layer, case=case):
          return case.apply(layer, *tensors)

        compiled = tf.function(apply, jit_compile=True, autograph=False)(*arguments)
        for one, other in zip(results, compiled, strict=True):
          self.assertAllClose(one, other, rtol=1e-12, atol=1e-12)

  def test_graphs_take_any_number_of_rows(self):
    for name, case in CASES.items():
      with self.subTest(name):
        layer, arguments, results = _called(case)

        def apply(*tensors, layer=layer, case=case):
          return case.apply(layer, *tensors)

        signature = [tf.TensorSpec([None, *a.shape[1:]], a.dtype) for a in arguments]
        function = tf.function(apply, input_signature=signature, autograph=False)
        for rows in (0, 1, 4):
          found = function(*[argument[:rows] for argument in arguments])
          for one, other in zip(results, found, strict=True):
            self.assertEqual(other.shape, [rows, *one.shape[1:]])
            self.assertAllClose(one[:rows], other, rtol=1e-12, atol=1e-12)

  def test_rows_are_independent(self):
    for name, case in CASES.items():
      with self.subTest(name):
        layer, arguments, results = _called(case)
        backwards = case.apply(layer, *[argument[::-1] for argument in arguments])
        for one, other in zip(results, backwards, strict=True):
          self.assertAllClose(one[::-1], other, rtol=1e-12, atol=1e-12)


if __name__ == "__main__":
  tf.test.main()
