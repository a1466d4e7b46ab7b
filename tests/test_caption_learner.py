"""The caption learner by enumeration: loss and gradient, padding, mixed lengths; and its use."""

import itertools

import keras
import numpy as np
import tensorflow as tf

import wsram_tf
from tests import caption_toy
from wsram_tf import objectives
from wsram_tf.data.vocabulary import END, PADDING

_TOLERANCE = 1e-10


class Float64Test(tf.test.TestCase):
  def setUp(self):
    super().setUp()
    keras.config.set_floatx("float64")
    self.addCleanup(keras.config.set_floatx, "float32")


class EnumeratedTest(Float64Test):
  """One caption of three words, all 64 glimpse sequences, all pairs of them."""

  def setUp(self):
    super().setUp()
    self.images = tf.constant(caption_toy.grids(1, "float64"))
    self.captions = tf.constant(caption_toy.CAPTIONS[:1])

  def densities(self, learner: wsram_tf.CaptionLearner) -> tuple[dict, dict]:
    """log p(a_n), log p(y_t), log q(a_n) of each sequence `[64, 3]`, and their derivatives
    `[64, 3, P]` by the weights of all networks."""

    @tf.function
    def derive():
      with tf.GradientTape(persistent=True) as tape:
        drawn = caption_toy.score_cells(
          learner, self.images, self.captions, caption_toy.all_cells()
        )
        scored = learner.score(drawn, self.captions)
        values = {"prior": scored.log_prior, "likelihood": scored.log_likelihood}
        if scored.log_proposal is not None:
          values["proposal"] = scored.log_proposal
        values = {name: value[:, 0] for name, value in values.items()}
      derivatives = {}
      variables = [v.value for group in learner.network_variables().values() for v in group]
      for name, value in values.items():
        parts = tape.jacobian(value, variables, unconnected_gradients="zero")
        derivatives[name] = tf.concat([tf.reshape(p, [64, 3, -1]) for p in parts], axis=-1)
      return values, derivatives

    return tf.nest.map_structure(lambda t: t.numpy(), derive())

  def expected_gradient(self, learner, values, derivatives, num_samples=2) -> np.ndarray:
    """The expected gradient of the learner's losses over all tuples of samples."""
    tuples = np.indices([64] * num_samples).reshape(num_samples, -1)
    parts = {name: tf.constant(value[tuples]) for name, value in values.items()}  # [M, tuples, 3]
    sampled = parts["proposal" if learner.inference_network else "prior"]
    with tf.GradientTape() as tape:
      tape.watch(parts)
      scored = objectives.ScoredSequences(
        log_prior=parts["prior"],
        log_likelihood=parts["likelihood"],
        log_sampling=sampled,
        log_proposal=parts.get("proposal"),
        credit_by_part=learner.loss_config.credit_by_word,
      )
      loss = learner.estimator.prediction_loss(scored)
      if learner.estimator.inference_loss:
        loss += learner.estimator.inference_loss(scored)
      probabilities = tf.exp(tf.reduce_sum(sampled, axis=[0, 2]))
      loss = tf.reduce_sum(tf.stop_gradient(probabilities) * loss)
    total = 0.0
    for name, by_part in tape.gradient(loss, parts, unconnected_gradients="zero").items():
      by_sequence = np.zeros([64, 3])
      np.add.at(by_sequence, tuples, by_part.numpy())
      total += np.einsum("ap,apw->w", by_sequence, derivatives[name])
    return total

  def test_log_marginal_likelihood_and_its_gradient(self):
    learner = caption_toy.learner()
    values, derivatives = self.densities(learner)
    self.assertAllClose(np.exp(values["prior"].sum(-1)).sum(), 1.0, rtol=_TOLERANCE)
    self.assertAllClose(np.exp(values["proposal"].sum(-1)).sum(), 1.0, rtol=_TOLERANCE)
    log_joint = (values["prior"] + values["likelihood"]).sum(-1)
    marginal = np.exp(log_joint).sum()
    # All captions that end within three words, and all that do not, have probability 1 together.
    total = 0.0
    for words in itertools.product(range(caption_toy.VOCABULARY), repeat=3):
      caption = list(words)
      if PADDING in caption:
        continue
      drawn = caption_toy.score_cells(
        learner, self.images, tf.constant([caption]), caption_toy.all_cells()
      )
      scored = learner.score(drawn, tf.constant([caption]))
      joint = tf.reduce_sum(scored.log_prior + scored.log_likelihood, axis=-1)
      total += float(tf.reduce_sum(tf.exp(joint)))
    padding = 1.0 - total
    self.assertBetween(padding, 0.0, 1.0)
    self.assertBetween(marginal, 0.0, total)
    # The naive posterior expectation is what wake-sleep tends to.
    posterior = np.exp(log_joint) / marginal
    exact = -np.einsum("a,apw->w", posterior, derivatives["prior"] + derivatives["likelihood"])
    learner_prior = caption_toy.learner("wake_sleep_prior_no_control_variate", False)
    values, derivatives = self.densities(learner_prior)
    biases = [
      np.abs(
        self.expected_gradient(learner_prior, values, derivatives, m)
        - exact[: len(derivatives["prior"][0, 0])]
      ).max()
      for m in (2, 3)
    ]
    self.assertLess(biases[1], 0.9 * biases[0])

  def test_gradient_is_the_formula(self):
    for credit in (False, True):
      with self.subTest(credit_by_word=credit):
        learner = caption_toy.learner("wake_sleep", credit)
        values, derivatives = self.densities(learner)
        prior, likelihood, proposal = (values[name] for name in ("prior", "likelihood", "proposal"))
        if credit:
          credited = lambda x: np.cumsum(x[:, ::-1], axis=1)[:, ::-1]  # noqa: E731
        else:
          credited = lambda x: np.tile(x.sum(axis=1, keepdims=True), [1, 3])  # noqa: E731
        weight = np.exp(credited(prior + likelihood - proposal))
        variate = np.exp(credited(prior - proposal))
        chance = np.exp(proposal.sum(-1))
        expected = 0.0
        for pair in itertools.product(range(64), repeat=2):
          pair = list(pair)
          w = weight[pair] / weight[pair].sum(axis=0)  # [2, 3]
          v = variate[pair] / variate[pair].sum(axis=0)
          expected -= chance[pair].prod() * (
            np.einsum("mp,mpw->w", w, derivatives["likelihood"][pair])
            + np.einsum("mp,mpw->w", w - v, derivatives["prior"][pair])
            + np.einsum("mp,mpw->w", w - 0.5, derivatives["proposal"][pair])
          )
        actual = self.expected_gradient(learner, values, derivatives)
        self.assertAllClose(actual, expected, rtol=1e-9, atol=_TOLERANCE)

  def test_credit_by_word_leaves_the_variational_gradient_as_it_is(self):
    for estimator in ("variational", "variational_leave_one_out"):
      gradients = []
      for credit in (False, True):
        learner = caption_toy.learner(estimator, credit)
        values, derivatives = self.densities(learner)
        gradients.append(self.expected_gradient(learner, values, derivatives))
      chance, signal = np.exp(values["prior"].sum(-1)), values["likelihood"].sum(-1)
      bound = -np.einsum(
        "a,aw->w",
        chance,
        derivatives["likelihood"].sum(1) + signal[:, np.newaxis] * derivatives["prior"].sum(1),
      )
      for gradient in gradients:
        self.assertAllClose(gradient, bound, rtol=1e-9, atol=_TOLERANCE)


def _losses_and_gradients(learner, images, captions, uniforms) -> tuple[dict, list]:
  """The losses `[B]` by network and the gradients of their sums, at given random numbers."""
  learner.uniforms = lambda *_: uniforms
  try:
    with tf.GradientTape() as tape:
      losses, _, scored = learner.losses(
        tf.constant(images), tf.constant(captions), tf.constant(0), tf.constant([3, 0])
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
  """A learner for each estimator and credit, with every regulariser."""
  for name in objectives.ESTIMATORS:
    for credit in (False, True):
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
  def test_more_padding_changes_nothing(self):
    images, captions = caption_toy.grids(3, "float64"), caption_toy.CAPTIONS
    uniforms = tf.constant(np.random.default_rng(1).uniform(size=[2, 3, 5, 3]))
    padded = np.pad(captions, [[0, 0], [0, 2]])
    for name, learner in _all_learners(max_words=5):
      with self.subTest(name):
        short, long = (
          _losses_and_gradients(learner, images, c, uniforms) for c in (captions, padded)
        )
        for first, second in zip(tf.nest.flatten(short), tf.nest.flatten(long), strict=True):
          self.assertAllClose(first, second, rtol=1e-12, atol=1e-12)

  def test_a_batch_of_mixed_lengths_is_the_captions_one_by_one(self):
    images, captions = caption_toy.grids(3, "float64"), caption_toy.CAPTIONS
    uniforms = tf.constant(np.random.default_rng(1).uniform(size=[2, 3, 3, 3]))
    for name, learner in _all_learners():
      with self.subTest(name):
        losses, gradients = _losses_and_gradients(learner, images, captions, uniforms)
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


def _data(count: int = 12) -> tuple[np.ndarray, np.ndarray]:
  """Grids whose one bright cell decides the words."""
  captions = np.array([[4, 5, END], [6, END, PADDING], [5, 6, END], [4, END, PADDING]], np.int32)
  images = 0.1 * caption_toy.grids(count)
  for i in range(count):
    images[i, i % 4 // 2, i % 2] += np.eye(3)[i % 3]
  return images, captions[np.arange(count) % 4]


class UseTest(tf.test.TestCase):
  def test_each_loss_reaches_its_own_network_alone(self):
    images, captions = map(tf.constant, _data(4))
    for name in ("wake_sleep", "variational_learned_baseline", "vimco"):
      learner = caption_toy.learner(name)
      variables = learner.network_variables()
      with tf.GradientTape(persistent=True) as tape:
        losses, _, _ = learner.losses(images, captions, tf.constant(0), tf.constant([3, 0]))
      self.assertEqual(set(losses), set(variables))
      for network, loss in losses.items():
        for other, group in variables.items():
          for variable, gradient in zip(group, tape.gradient(loss, group), strict=True):
            if other == network:
              self.assertIsNotNone(gradient, variable.path)
            elif gradient is not None:
              self.assertAllEqual(tf.convert_to_tensor(gradient), tf.zeros(variable.shape))

  def test_trains_eagerly_in_a_graph_and_compiled_alike(self):
    histories = []
    for arguments in ({"run_eagerly": True}, {"jit_compile": False}, {"jit_compile": True}):
      learner = caption_toy.learner("wake_sleep_equal_likelihood", dropout=0.2)
      learner.compile(keras.optimizers.SGD(0.05), **arguments)
      history = learner.fit(*_data(), batch_size=12, epochs=3, shuffle=False, verbose=0).history
      self.assertEqual(set(history), set(learner.training_metrics))
      histories.append(history)
    for history in histories[1:]:
      for name, values in history.items():
        self.assertAllClose(values, histories[0][name], rtol=1e-4, atol=1e-5)

  def test_learns_and_comes_back_from_a_file(self):
    learner = caption_toy.learner("wake_sleep_equal_likelihood", num_samples=4, units=8)
    learner.compile(keras.optimizers.Adam(0.02), jit_compile=False)
    data = _data()
    before = learner.evaluate(*data, verbose=0, return_dict=True)
    learner.fit(*data, epochs=60, verbose=0)
    after = learner.evaluate(*data, verbose=0, return_dict=True)
    self.assertEqual(set(after), set(learner.evaluation_metrics))
    self.assertGreater(after["log_likelihood_per_word"], 0.5 * before["log_likelihood_per_word"])
    path = f"{self.get_temp_dir()}/learner.keras"
    learner.save(path)
    loaded = keras.saving.load_model(path)
    self.assertEqual(loaded.get_config(), learner.get_config())
    for name, value in loaded.predict(data[0], verbose=0).items():
      self.assertAllEqual(value, learner.predict(data[0], verbose=0)[name])

  def test_dropout_drops_in_training_only_and_alike_for_all_samples(self):
    learner = caption_toy.learner("wake_sleep_prior", dropout=0.5)
    images, captions = map(tf.constant, _data(4))
    uniforms = tf.fill([3, 4, 3, 2], 0.5)
    plain = learner.sample(images, captions, uniforms).sequences.log_probs
    first, other = (
      learner.sample(images, captions, uniforms, 1.0, tf.constant(seed)).sequences.log_probs
      for seed in ([1, 2], [1, 3])
    )
    self.assertNotAllClose(first, plain)
    self.assertNotAllClose(first, other)
    self.assertAllEqual(first[0], first[2])

  def test_refuses_by_name(self):
    images, captions = _data(4)
    learner = caption_toy.learner()
    learner.compile("sgd", jit_compile=False)
    with_nan = images.copy()
    with_nan[1, 0, 0, 0] = np.nan
    hole = captions.copy()
    hole[1] = [4, PADDING, END]
    empty = captions.copy()
    empty[2] = PADDING
    for x, y, message in (
      (with_nan, captions, "images must be finite"),
      (images[:, :1], captions, r"images must have the model's shape \[B, 2, 2, 3\]"),
      (images, captions + 1, r"captions must lie within 0\.\.6"),
      (images, hole, "captions must hold no word after padding"),
      (images, empty, "captions must each begin with a word"),
      (images, np.pad(captions, [[0, 0], [0, 1]]), "T known and from 1 to max_words=3"),
      (images.astype(int), captions, "images must be of a floating dtype"),
      (images, captions.astype(float), "captions must be of an integer dtype"),
      (images[:3], captions, "images and captions must be equally many"),
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


if __name__ == "__main__":
  tf.test.main()
