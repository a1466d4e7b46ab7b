"""The caption learner: enumerated losses and gradients, padding, mixed lengths, training."""

import itertools
import math

import keras
import numpy as np
import tensorflow as tf

import wsram_tf
from tests.support.models import caption_toy
from wsram_tf import objectives
from wsram_tf.captions.vocabulary import END, PADDING

_TOLERANCE = 1e-10
# Of the enumeration: two cells before each of three words.
_SEQUENCES = caption_toy.all_cells(cells=2)
_COUNT = len(_SEQUENCES)


class Float64Test(tf.test.TestCase):
  def setUp(self):
    super().setUp()
    self.addCleanup(keras.config.set_dtype_policy, keras.config.dtype_policy())
    keras.config.set_dtype_policy("float64")


class EnumeratedTest(Float64Test):
  """Enumerates all 8 glimpse sequences of a caption of three words, and all tuples of them.

  `values` holds log p(a_n), log p(y_t) and log q(a_n) of each sequence, float64 `[8, 3]`.
  `derivatives` holds their derivatives by the weights of both networks, `[8, 3, P]`.
  """

  values = derivatives = None

  def setUp(self):
    super().setUp()
    self.images = tf.constant(caption_toy.grids(1, "float64")[:, :, :1])
    self.captions = tf.constant(caption_toy.CAPTIONS[:1])
    self.learner = caption_toy.learner(width=1, cell="relu")
    if EnumeratedTest.values is None:  # Takes seconds, so all tests share it.
      EnumeratedTest.values, EnumeratedTest.derivatives = self.densities()

  def densities(self) -> tuple[dict, dict]:
    @tf.function(autograph=False)  # Converting takes seconds.
    def derive():
      with tf.GradientTape() as tape:
        drawn = caption_toy.score_cells(self.learner, self.images, self.captions, _SEQUENCES)
        scored = self.learner.score(drawn, self.captions)
        # [3, 8, 3]: one Jacobian of all takes a third of the time of three.
        values = tf.stack([scored.log_prior, scored.log_likelihood, scored.log_proposal])[:, :, 0]
      variables = [v.value for group in self.learner.network_variables().values() for v in group]
      parts = tape.jacobian(
        values, variables, unconnected_gradients="zero", experimental_use_pfor=False
      )
      return values, tf.concat([tf.reshape(p, [3, _COUNT, 3, -1]) for p in parts], axis=-1)

    names = ("prior", "likelihood", "proposal")
    values, derivatives = (dict(zip(names, found.numpy(), strict=True)) for found in derive())
    return values, derivatives

  def expected_gradient(self, estimator: str, credit_by_word: bool, num_samples: int = 2):
    """Computes the expected gradient of an estimator's losses over all tuples of samples, `[P]`."""
    chosen = objectives.ESTIMATORS[estimator]
    tuples, orders = np.indices([_COUNT] * num_samples).reshape(num_samples, -1), 1.0
    if num_samples > 2:  # Each set of samples once: their order does not matter.
      tuples = tuples[:, (np.diff(tuples, axis=0) >= 0).all(axis=0)]
      same = [(tuples[: m + 1] == tuples[m]).sum(axis=0) for m in range(num_samples)]
      orders = math.factorial(num_samples) / np.prod(same, axis=0)
    parts = {name: tf.constant(value[tuples]) for name, value in self.values.items()}
    sampled = parts["prior" if chosen.samples_from == "prior" else "proposal"]
    with tf.GradientTape() as tape:
      tape.watch(parts)
      scored = objectives.ScoredSequences(
        log_prior=parts["prior"],
        log_likelihood=parts["likelihood"],
        log_sampling=sampled,
        log_proposal=parts["proposal"],
        credit_by_part=credit_by_word,
      )
      loss = chosen.prediction_loss(scored)
      if chosen.inference_loss:
        loss += chosen.inference_loss(scored)
      probabilities = tf.exp(tf.reduce_sum(sampled, axis=[0, 2]))
      loss = tf.reduce_sum(tf.stop_gradient(probabilities) * orders * loss)
    total = 0.0
    for name, by_part in tape.gradient(loss, parts, unconnected_gradients="zero").items():
      by_sequence = np.stack(
        [np.bincount(tuples.ravel(), by_part[..., n].numpy().ravel(), _COUNT) for n in range(3)],
        axis=1,
      )
      total += np.einsum("ap,apw->w", by_sequence, self.derivatives[name])
    return total

  def test_probabilities_are_whole(self):
    for name in ("prior", "proposal"):
      self.assertAllClose(np.exp(self.values[name].sum(-1)).sum(), 1.0, rtol=_TOLERANCE)
    marginal = np.exp((self.values["prior"] + self.values["likelihood"]).sum(-1)).sum()
    # Captions of three words without padding are a subset of all captions.
    words = [word for word in range(caption_toy.VOCABULARY) if word != PADDING]
    captions = tf.constant(list(itertools.product(words, repeat=3)))
    images = tf.repeat(self.images, len(captions), axis=0)
    drawn = caption_toy.score_cells(self.learner, images, captions, _SEQUENCES)
    scored = self.learner.score(drawn, captions)
    joint = tf.reduce_sum(scored.log_prior + scored.log_likelihood, axis=-1)  # [8, captions]
    everything = float(tf.reduce_sum(tf.exp(joint)))
    self.assertBetween(everything, marginal, 1.0)
    self.assertGreater(everything, 0.3)

  def test_bias_shrinks_with_samples(self):
    log_joint = (self.values["prior"] + self.values["likelihood"]).sum(-1)
    posterior = np.exp(log_joint) / np.exp(log_joint).sum()
    exact = -np.einsum(
      "a,apw->w", posterior, self.derivatives["prior"] + self.derivatives["likelihood"]
    )
    biases = [
      np.abs(self.expected_gradient("wake_sleep_prior_no_control_variate", False, m) - exact).max()
      for m in (2, 3)
    ]
    self.assertLess(biases[1], 0.9 * biases[0])

  def test_gradient_is_the_formula(self):
    for credit in (False, True):
      with self.subTest(credit_by_word=credit):
        logs = {}
        for name, value in self.values.items():
          from_here = np.cumsum(value[:, ::-1], axis=1)[:, ::-1]
          logs[name] = from_here if credit else np.tile(from_here[:, :1], [1, 3])
        weight = np.exp(logs["prior"] + logs["likelihood"] - logs["proposal"])
        variate = np.exp(logs["prior"] - logs["proposal"])
        chance = np.exp(self.values["proposal"].sum(-1))
        by_part = {name: np.zeros([_COUNT, 3]) for name in self.values}
        for pair in itertools.product(range(_COUNT), repeat=2):
          w = weight[list(pair)] / weight[list(pair)].sum(axis=0)  # [2, 3]
          v = variate[list(pair)] / variate[list(pair)].sum(axis=0)
          for m, sequence in enumerate(pair):
            probability = chance[pair[0]] * chance[pair[1]]
            by_part["likelihood"][sequence] -= probability * w[m]
            by_part["prior"][sequence] -= probability * (w[m] - v[m])
            by_part["proposal"][sequence] -= probability * (w[m] - 0.5)
        expected = sum(
          np.einsum("ap,apw->w", by_part[name], self.derivatives[name]) for name in by_part
        )
        actual = self.expected_gradient("wake_sleep", credit)
        self.assertAllClose(actual, expected, rtol=1e-9, atol=_TOLERANCE)

  def test_credit_by_word_leaves_the_variational_gradient_as_it_is(self):
    chance, signal = (np.exp(self.values["prior"].sum(-1)), self.values["likelihood"].sum(-1))
    bound = -np.einsum(
      "a,aw->w",
      chance,
      self.derivatives["likelihood"].sum(1)
      + signal[:, np.newaxis] * self.derivatives["prior"].sum(1),
    )
    for estimator in ("variational", "variational_leave_one_out"):
      for credit in (False, True):
        gradient = self.expected_gradient(estimator, credit)
        self.assertAllClose(gradient, bound, rtol=1e-9, atol=_TOLERANCE)


def _losses_and_gradients(learner, images, captions, uniforms) -> tuple[dict, list]:
  """Computes the losses `[B]` by network and the gradients of their sums, for given uniforms."""
  learner.uniforms = lambda *_: uniforms
  try:
    with tf.GradientTape() as tape:
      grid = learner.look(tf.constant(images))
      losses, _, scored = learner.losses(
        grid, tf.constant(captions), tf.constant(0), tf.constant([3, 0])
      )
      total = tf.reduce_sum(tf.add_n(list(losses.values())))
    variables = [v.value for group in learner.network_variables().values() for v in group]
    gradients = tape.gradient(total, variables, unconnected_gradients="zero")
  finally:
    del learner.uniforms
  return {**losses, "weights": scored.log_weights[..., 0]}, [
    tf.convert_to_tensor(g) for g in gradients
  ]


def _all_learners(**changes):
  """Makes learners for each kind of estimator, and for both of credit, with every regulariser."""
  for name, credit in (
    ("wake_sleep", False),
    ("wake_sleep", True),
    ("wake_sleep_mixture", False),
    ("variational_learned_baseline", True),
    ("variational_correctness_leave_one_out", True),
    ("vimco", False),
  ):
    yield (
      f"{name}, credit_by_word={credit}",
      caption_toy.learner(
        name,
        credit,
        exploration=wsram_tf.ExplorationConfig(entropy_bonus=0.3, coverage_bonus=0.2),
        label_smoothing=0.1,
        **changes,
      ),
    )


class PaddingTest(Float64Test):
  def test_more_padding_and_a_batch_of_mixed_lengths_change_nothing(self):
    # One word and the end; the end alone.
    images, captions = caption_toy.grids(2, "float64"), np.array([[4, END], [END, PADDING]])
    uniforms = tf.constant(np.random.default_rng(1).uniform(size=[2, 2, 3, 3]))
    padded = np.pad(captions, [[0, 0], [0, 1]])
    for name, learner in _all_learners(max_words=3):
      with self.subTest(name):
        short, long = (
          _losses_and_gradients(learner, images, c, uniforms) for c in (captions, padded)
        )
        for first, second in zip(tf.nest.flatten(short), tf.nest.flatten(long), strict=True):
          self.assertAllClose(first, second, rtol=1e-12, atol=1e-12)
        losses, gradients = short
        summed = [tf.zeros_like(g) for g in gradients]
        for i, caption in enumerate(captions):
          # Without its padding.
          caption = caption[caption != PADDING]
          alone, parts = _losses_and_gradients(
            learner, images[i : i + 1], caption[np.newaxis], uniforms[:, i : i + 1]
          )
          for network, loss in losses.items():
            self.assertAllClose(loss[..., i], alone[network][..., 0], rtol=1e-12, atol=1e-12)
          summed = [a + b for a, b in zip(summed, parts, strict=True)]
        for whole, parts in zip(gradients, summed, strict=True):
          self.assertAllClose(whole, parts, rtol=1e-10, atol=1e-12)


class BaselineTest(tf.test.TestCase):
  def _baseline(self, learner, captions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The baseline and the signal of captions of black images, `[M, B, T]`."""
    images, captions = tf.zeros([len(captions), 2, 2, 3]), tf.constant(captions)
    drawn = learner.training_sample(learner.look(images), captions, 1.0, tf.constant([1, 2]))
    scored = learner.score(drawn, captions)
    return scored.baseline.numpy(), learner.estimator.baseline_signal(scored).numpy()

  def test_reads_the_words_that_a_glimpse_is_credited_with(self):
    # The word before counts too, as what the last word follows.
    captions = [[4, 5, 6, 4, END], [4, 5, 6, 5, END]]
    for horizon, equal in ((1, 3), (2, 2), (0, 0)):
      learner = caption_toy.learner(
        "variational_learned_baseline", credit_horizon=horizon, max_words=5
      )
      (first, _), (second, _) = (self._baseline(learner, np.array([c])) for c in captions)
      same = np.isclose(first, second, rtol=0, atol=1e-6)
      with self.subTest(horizon=horizon):
        # The samples are equal too, up to the word that differs.
        self.assertAllEqual(same[..., :4], np.broadcast_to(np.arange(4) < equal, [2, 1, 4]))

  def test_fits_what_depends_on_the_words_alone(self):
    captions = np.random.default_rng(2).choice([4, 5, 6], size=[64, 3], p=[0.8, 0.15, 0.05])
    learner = caption_toy.learner("variational_learned_baseline")
    learner.compile(keras.optimizers.Adam(0.06), jit_compile=False)
    learner.fit(np.zeros([64, 2, 2, 3]), captions, batch_size=64, epochs=50, verbose=0)
    baseline, signal = self._baseline(learner, captions)
    self.assertLess(np.var(signal - baseline), 0.3 * np.var(signal))


def _data(count: int = 12) -> tuple[np.ndarray, np.ndarray]:
  """Makes grids with one bright cell that determines the words."""
  captions = np.array([[4, 5, END], [6, END, PADDING], [5, 6, END], [4, END, PADDING]], np.int32)
  images = 0.1 * caption_toy.grids(count)
  for i in range(count):
    images[i, i % 4 // 2, i % 2] += np.eye(3)[i % 3]
  return images, captions[np.arange(count) % 4]


class TrainingTest(tf.test.TestCase):
  def test_each_loss_reaches_its_own_network_only(self):
    images, captions = map(tf.constant, _data(4))
    for name in ("wake_sleep", "variational_learned_baseline", "vimco"):
      learner = caption_toy.learner(name)
      variables = learner.network_variables()
      with tf.GradientTape(persistent=True) as tape:
        losses, _, _ = learner.losses(
          learner.look(images), captions, tf.constant(0), tf.constant([3, 0])
        )
      self.assertEqual(set(losses), set(variables))
      for network, loss in losses.items():
        gradients = tape.gradient(loss, variables)
        for other, group in variables.items():
          for variable, gradient in zip(group, gradients[other], strict=True):
            if other == network:
              self.assertIsNotNone(gradient, variable.path)
            elif gradient is not None:
              self.assertAllEqual(tf.convert_to_tensor(gradient), tf.zeros(variable.shape))

  def test_trains_eagerly_and_compiled_alike(self):
    histories = []
    for arguments in ({"run_eagerly": True}, {"jit_compile": True}):
      # What compiles fast: plain recurrent layers, and the captions of at most two words.
      learner = caption_toy.learner("wake_sleep_equal_likelihood", dropout=0.2, cell="relu")
      learner.compile(keras.optimizers.SGD(0.05), **arguments)
      images, captions = (part[1::2] for part in _data())
      history = learner.fit(
        images, captions[:, :2], batch_size=6, epochs=2, shuffle=False, verbose=0
      ).history
      self.assertEqual(set(history), set(learner.training_metrics))
      histories.append(history)
    for name, values in histories[1].items():
      self.assertAllClose(values, histories[0][name], rtol=1e-4, atol=1e-5)

  def test_learns_and_loads_from_a_file(self):
    learner = caption_toy.learner(
      "wake_sleep_prior_equal_likelihood", num_samples=4, units=8, max_words=2
    )
    # The captions of at most two words, since each word is traced; evaluations run eagerly.
    images, captions = (part[1::2] for part in _data())
    data = images, captions[:, :2]
    learner.compile(run_eagerly=True)
    before = learner.evaluate(*data, verbose=0, return_dict=True)
    learner.compile(keras.optimizers.Adam(0.02), jit_compile=False)
    data_again = tf.data.Dataset.from_tensors(data).repeat()
    learner.fit(data_again, steps_per_epoch=40, verbose=0)
    learner.compile(run_eagerly=True)
    after = learner.evaluate(*data, verbose=0, return_dict=True)
    self.assertEqual(set(after), set(learner.evaluation_metrics))
    self.assertGreater(after["log_likelihood_per_word"], 0.5 * before["log_likelihood_per_word"])
    path = f"{self.get_temp_dir()}/learner.keras"
    learner.save(path)
    loaded = keras.saving.load_model(path)
    self.assertEqual(loaded.get_config(), learner.get_config())
    answer = learner(data[0])
    for name, value in loaded(data[0]).items():
      self.assertAllEqual(value, answer[name])

  def test_soft_attention_reads_the_weighted_mean_of_all_cells(self):
    images, captions = map(tf.constant, _data(4))
    hard = caption_toy.learner("variational", num_samples=1)
    soft = caption_toy.learner("variational", num_samples=1, attention="soft")
    # A sharp prior makes both read the same cell.
    for learner in (hard, soft):
      query = learner.prediction_network.location_network.query
      query.kernel.assign(100.0 * query.kernel)
      query.bias.assign(100.0 * query.bias)
    grids = [learner.prediction_network.look(images) for learner in (hard, soft)]
    log_probs = [
      learner.prediction_network.attend(grid, captions).log_probs
      for learner, grid in zip((hard, soft), grids, strict=True)
    ]
    self.assertAllClose(*log_probs, rtol=1e-2, atol=1e-2)
    losses, _, scored = soft.losses(
      soft.look(images), captions, tf.constant(0), tf.constant([3, 0])
    )
    # The loss is the negative log-likelihood, and its gradient reaches the location network.
    expected = -tf.reduce_sum(scored.log_likelihood, axis=[0, 2])
    self.assertAllClose(losses["prediction"], expected, rtol=1e-6)
    self.assertAllClose(scored.log_weights[:, :, 0], -expected[tf.newaxis], rtol=1e-6)
    smooth = caption_toy.learner("variational", num_samples=1, attention="soft")
    network = smooth.prediction_network
    with tf.GradientTape() as tape:
      losses, _, _ = smooth.losses(
        smooth.look(images), captions, tf.constant(0), tf.constant([3, 0])
      )
    gradient = tape.gradient(losses["prediction"], network.location_network.query.kernel)
    self.assertGreater(np.abs(gradient).max(), 1e-4)
    with self.assertRaisesRegex(ValueError, "attention=soft: must go with estimator=variational"):
      caption_toy.learner("wake_sleep", attention="soft")

  def test_dropout_acts_in_training_only_and_equally_on_all_samples(self):
    learner = caption_toy.learner("wake_sleep_prior", dropout=0.5)
    images, captions = map(tf.constant, _data(4))
    uniforms = tf.fill([3, 4, 3, 2], 0.5)
    learner.uniforms = lambda *_: uniforms
    plain = learner.sample(learner.look(images), captions, uniforms).sequences.log_probs
    first, other = (
      learner.training_sample(
        learner.look(images), captions, 1.0, tf.constant(seed)
      ).sequences.log_probs
      for seed in ([1, 2], [1, 3])
    )
    self.assertNotAllClose(first, plain)
    self.assertNotAllClose(first, other)
    self.assertAllClose(first[0], first[2], rtol=1e-5)

  def test_refuses_by_name(self):
    images, captions = _data(4)
    learner = caption_toy.learner()
    learner.compile("sgd", run_eagerly=True)
    with_nan = images.copy()
    with_nan[1, 0, 0, 0] = np.nan
    hole = captions.copy()
    hole[1] = [4, PADDING, END]
    empty = captions.copy()
    empty[2] = PADDING
    for x, y, message in (
      (with_nan, captions, "images with values from.*: must be finite"),
      (images[:, :1], captions, r"images of .*: must have the model's shape \[B, 2, 2, 3\]"),
      (images, captions + 1, r"captions with values from.*: must lie within 0\.\.6"),
      (images, hole, "captions: must hold no word after padding"),
      (images, empty, "captions: must each begin with a word"),
      (images, np.pad(captions, [[0, 0], [0, 1]]), "static T from 1 to max_words=3"),
      (images.astype(int), captions, "images of dtype int64: must be of a floating-point dtype"),
      (images, captions.astype(float), "captions of dtype float64: must be of an integer dtype"),
      (images[:3], captions, "images of length 3, captions of length 4: must have the same length"),
    ):
      with self.subTest(message):
        with self.assertRaisesRegex(ValueError, message):
          learner.fit(x, y, verbose=0)
        if len(x) == len(y):
          data = tf.data.Dataset.from_tensors((x, y))
          with self.assertRaisesRegex((ValueError, tf.errors.InvalidArgumentError), message):
            learner.fit(data, verbose=0)
    with self.assertRaisesRegex(ValueError, "captions=None: must be given with the images"):
      learner.fit(tf.data.Dataset.from_tensors((images,)), verbose=0)
    with self.assertRaisesRegex(ValueError, "inference_phase=sleep: must be wake for captions"):
      wsram_tf.CaptionLearner(
        caption_toy.model_config(), wsram_tf.ObjectiveConfig(inference_phase="sleep")
      )
    with self.assertRaisesRegex(ValueError, r"stepwise_weight=0\.5: must be 0 for captions"):
      wsram_tf.CaptionLearner(
        caption_toy.model_config(), wsram_tf.ObjectiveConfig(stepwise_weight=0.5)
      )


if __name__ == "__main__":
  tf.test.main()
