"""Estimators and location families of the user."""

import dataclasses

import tensorflow as tf

import wsram_tf
from tests.keras_conventions.learners import MODEL, make_data
from wsram_tf.locations import NormalLocations


class ExtensionTest(tf.test.TestCase):
  def test_an_estimator_of_ones_own_trains(self):
    def likelihood_only_loss(scored: wsram_tf.ScoredSequences) -> tf.Tensor:
      return -tf.reduce_mean(tf.reduce_sum(scored.log_likelihood, axis=-1), axis=0)

    wsram_tf.register_estimator(
      "likelihood_only",
      wsram_tf.Estimator("the likelihood alone", "prior", likelihood_only_loss, least_samples=1),
    )
    self.addCleanup(wsram_tf.objectives.ESTIMATORS.pop, "likelihood_only")
    learner = wsram_tf.WakeSleepLearner(
      MODEL, wsram_tf.ObjectiveConfig("likelihood_only", num_samples=1)
    )
    learner.compile("sgd", run_eagerly=True)
    learner.fit(*make_data(), verbose=0)
    self.assertIsNone(learner.inference_network)

  def test_a_location_family_of_ones_own_trains(self):
    wsram_tf.register_location_family("wide", lambda config: NormalLocations(0.3))
    self.addCleanup(wsram_tf.location_families.LOCATION_FAMILIES.pop, "wide")
    location = wsram_tf.LocationConfig(location_distribution="wide")
    learner = wsram_tf.WakeSleepLearner(dataclasses.replace(MODEL, location=location))
    learner.compile("sgd", run_eagerly=True)
    learner.fit(*make_data(), verbose=0)
    self.assertEqual(learner.prediction_network.location_distribution.scale, 0.3)

  def test_families_are_checked_when_they_are_registered(self):
    for name, make, message in (
      ("grid", lambda config: None, "name='grid': must be new"),
      ("a b", lambda config: None, "name='a b': must be 1 to 100 letters"),
      ("wide", 0.3, "make=0.3: must be a function"),
    ):
      with self.assertRaisesRegex(ValueError, message):
        wsram_tf.register_location_family(name, make)


if __name__ == "__main__":
  tf.test.main()
