"""The recurrent core: its cells, compared with NumPy, and the separation of its two layers."""

import os

import keras
import numpy as np
import tensorflow as tf

from wsram_tf.layers import CoreState, RecurrentCore

CELLS = ("lstm", "gru", "relu")
UNITS, STEPS, ROWS = 4, 3, 2


def _core(cell: str) -> RecurrentCore:
  core = RecurrentCore(UNITS, cell, dtype="float32")
  core.build((None, 3))
  generator = np.random.default_rng(0)
  core.set_weights([generator.normal(size=weight.shape) for weight in core.weights])
  return core


def _normal(*shape: int, seed: int = 1) -> tf.Tensor:
  return tf.constant(np.random.default_rng(seed).normal(size=shape), tf.float32)


def _state(core: RecurrentCore) -> CoreState:
  tensors = [_normal(ROWS, UNITS, seed=s) for s in range(2 * core.num_states)]
  return CoreState(tensors[: core.num_states], tensors[core.num_states :])


def _sigmoid(x):
  return 1 / (1 + np.exp(-x))


def _naive_lstm(cell, inputs, states):
  hidden, carry = states
  gates = inputs @ cell.kernel.numpy() + hidden @ cell.recurrent_kernel.numpy() + cell.bias.numpy()
  enter, forget, candidate, out = np.split(gates, 4, axis=-1)
  carry = _sigmoid(forget) * carry + _sigmoid(enter) * np.tanh(candidate)
  return [_sigmoid(out) * np.tanh(carry), carry]


def _naive_gru(cell, inputs, states):
  (hidden,) = states
  bias = cell.bias.numpy()
  update_x, reset_x, new_x = np.split(inputs @ cell.kernel.numpy() + bias[0], 3, axis=-1)
  recurrent = hidden @ cell.recurrent_kernel.numpy() + bias[1]
  update_h, reset_h, new_h = np.split(recurrent, 3, axis=-1)
  update = _sigmoid(update_x + update_h)
  new = np.tanh(new_x + _sigmoid(reset_x + reset_h) * new_h)
  return [update * hidden + (1 - update) * new]


def _naive_relu(cell, inputs, states):
  (hidden,) = states
  sums = inputs @ cell.kernel.numpy() + hidden @ cell.recurrent_kernel.numpy() + cell.bias.numpy()
  return [np.maximum(sums, 0)]


class RecurrentCoreTest(tf.test.TestCase):
  def test_step_matches_numpy(self):
    for cell, naive in zip(CELLS, (_naive_lstm, _naive_gru, _naive_relu), strict=True):
      with self.subTest(cell):
        core = _core(cell)
        inputs, state = _normal(ROWS, 3), _state(core)
        found = core(inputs, state)
        self.assertIsInstance(found, CoreState)
        lower = naive(core.lower, inputs.numpy(), [t.numpy() for t in state.lower])
        upper = naive(core.upper, lower[0], [t.numpy() for t in state.upper])
        self.assertAllClose(found.lower, lower, rtol=1e-5, atol=1e-5)
        self.assertAllClose(found.upper, upper, rtol=1e-5, atol=1e-5)

  def test_parts_of_inputs_may_be_multiplied_before(self):
    for cell in CELLS:
      with self.subTest(cell):
        core = _core(cell)
        inputs, state = _normal(ROWS, 3), _state(core)
        parts = zip(tf.split(inputs, [1, 2], axis=1), core.input_kernels([1, 2]), strict=True)
        products = tf.add_n([tf.matmul(part, kernel) for part, kernel in parts])
        expected, found = core(inputs, state), core(products, state, multiplied=True)
        self.assertAllClose(found, expected, rtol=1e-5, atol=1e-6)

  def test_a_first_step_equals_one_from_zeros_and_repeated_rows(self):
    samples = 3
    for cell in CELLS:
      with self.subTest(cell):
        core = _core(cell)
        inputs = _normal(ROWS * samples, 3)
        shared = [_normal(ROWS, UNITS, seed=s) for s in range(core.num_states)]
        sources = [inputs, *shared, *core.lower.weights, *core.upper.weights]

        def repeated(state: CoreState) -> CoreState:
          return CoreState(*([tf.repeat(one, samples, axis=0) for one in part] for part in state))

        def total(state: CoreState) -> tf.Tensor:
          return tf.add_n([tf.reduce_sum(tf.square(one)) for one in tf.nest.flatten(state)])

        with tf.GradientTape(persistent=True) as tape:
          tape.watch([inputs, shared])
          expected = core(inputs, repeated(core.initial_state(shared)))
          found = core(inputs, CoreState([], shared), num_samples=samples)
          losses = total(expected), total(found)
        self.assertAllClose(found, expected, rtol=1e-6, atol=1e-6)
        for wanted, gradient in zip(*(tape.gradient(one, sources) for one in losses), strict=True):
          # Without the product of zeros, the lower layer's recurrent weights have no gradient.
          gradient = tf.zeros_like(wanted) if gradient is None else gradient
          self.assertAllClose(gradient, wanted, rtol=1e-5, atol=1e-5)
        state = _state(core)
        self.assertAllClose(
          core(inputs, state, num_samples=samples), core(inputs, repeated(state)), 1e-6, 1e-6
        )

  def test_lower_layer_does_not_depend_on_the_upper_one(self):
    for cell in CELLS:
      with self.subTest(cell):
        core = _core(cell)
        first = _state(core)
        with tf.GradientTape() as tape:
          tape.watch(first)
          state = first
          for step in range(STEPS):
            state = core(_normal(ROWS, 3, seed=step), state)
          total = tf.add_n([tf.reduce_sum(tensor) for tensor in state.lower])
        sources = [*first.lower, *first.upper, *core.lower.weights, *core.upper.weights]
        gradients = iter(tape.gradient(total, sources))
        for _ in first.lower:
          self.assertGreater(np.abs(next(gradients)).max(), 0.0)
        for _ in first.upper:
          self.assertIsNone(next(gradients))
        for _ in core.lower.weights:
          self.assertGreater(np.abs(next(gradients)).max(), 0.0)
        for _ in core.upper.weights:
          self.assertIsNone(next(gradients))

  def test_upper_layer_depends_on_the_lower_one(self):
    for cell in CELLS:
      with self.subTest(cell):
        core = _core(cell)
        inputs, first = _normal(ROWS, 3), _state(core)
        with tf.GradientTape() as tape:
          tape.watch([inputs, first])
          upper = core(inputs, first).upper[0]
        for gradient in tf.nest.flatten(tape.gradient(upper, [inputs, first])):
          self.assertGreater(np.abs(gradient).max(), 0.0)

  def test_initial_state(self):
    for cell, num_states in zip(CELLS, (2, 1, 1), strict=True):
      with self.subTest(cell):
        core = RecurrentCore(UNITS, cell)
        self.assertEqual(core.num_states, num_states)
        upper = [_normal(ROWS, UNITS, seed=s) for s in range(num_states)]
        state = core.initial_state(upper)
        self.assertAllEqual(state.lower, np.zeros([num_states, ROWS, UNITS]))
        self.assertAllEqual(state.upper, upper)

  def test_runs_in_keras_rnn_and_functional_models(self):
    for cell in CELLS:
      with self.subTest(cell):
        core = _core(cell)
        sequence = _normal(ROWS, STEPS, 3)
        state = CoreState(*[[tf.zeros([ROWS, UNITS])] * core.num_states for _ in range(2)])
        outputs = []
        for step in range(STEPS):
          state = core(sequence[:, step], state)
          outputs.append(state.lower[0])
        inputs = keras.Input((STEPS, 3))
        rnn = keras.layers.RNN(core, return_sequences=True, return_state=True)
        found, *last = keras.Model(inputs, rnn(inputs))(sequence)
        self.assertAllClose(found, tf.stack(outputs, axis=1), rtol=1e-5, atol=1e-5)
        self.assertAllClose(last, [*state.lower, *state.upper], rtol=1e-5, atol=1e-5)

  def test_relu_layers_start_with_the_identity(self):
    core = RecurrentCore(UNITS, "relu")
    core.build((None, 3))
    for layer in (core.lower, core.upper):
      self.assertAllEqual(layer.recurrent_kernel, np.eye(UNITS))
    self.assertEqual(core.output_activation, "relu")

  def test_a_functional_model_with_a_core_is_saved_and_loaded(self):
    inputs = keras.Input((STEPS, 3))
    model = keras.Model(inputs, keras.layers.RNN(RecurrentCore(UNITS))(inputs))
    path = os.path.join(self.get_temp_dir(), "model.keras")
    model.save(path)
    sequence = _normal(ROWS, STEPS, 3)
    self.assertAllEqual(keras.saving.load_model(path)(sequence), model(sequence))

  def test_rejects_an_unknown_cell(self):
    with self.assertRaisesRegex(ValueError, "cell='rnn': must be one of lstm, gru"):
      RecurrentCore(UNITS, "rnn")


if __name__ == "__main__":
  tf.test.main()
