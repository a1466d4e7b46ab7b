"""Glimpse sequences of labelled images: draws, scores, and sequences of the sleep phase."""

import functools

import tensorflow as tf

from wsram_tf.classification.inference_network import InferenceNetwork
from wsram_tf.classification.prediction_network import PredictionNetwork
from wsram_tf.classification.views import View
from wsram_tf.learning.sampling import DrawnSequences, Proposal, Sampler, draw

__all__ = ["draw_sequences", "dream", "label_proposal"]


def label_proposal(
  prediction_network: PredictionNetwork,
  inference_network: InferenceNetwork,
  view: View,
  target: tf.Tensor,
) -> Proposal:
  """The proposal of sequences with one label each, the same before every glimpse.

  Args:
    prediction_network: the network that takes the glimpses.
    inference_network: emits the proposal's parameters.
    view: of B images.
    target: float `[M, B, E]`, the labels' encoding.
  """
  config = prediction_network.config
  targets = tf.repeat(target[:, :, tf.newaxis], config.num_glimpses, axis=2)
  keys = inference_network.keys(view.cells, view.saliency)
  return Proposal(inference_network, targets, keys, config.location.no_return)


def draw_sequences(
  prediction_network: PredictionNetwork,
  inference_network: InferenceNetwork | None,
  view: View,
  target: tf.Tensor,
  uniforms: tf.Tensor,
  sampler: Sampler,
) -> DrawnSequences:
  """Draws M sequences for each image and scores them under every distribution.

  Args:
    prediction_network: the prior.
    inference_network: the proposal; None if the sampler needs none.
    view: of B images.
    target: float `[B, E]`, the labels' encoding for the inference network.
    uniforms: float `[M, B, N, sampler.numbers_a_glimpse]` in (0, 1).
    sampler: the distribution to draw from.
  """
  proposal = None
  if inference_network:
    target = tf.repeat(target[tf.newaxis], uniforms.shape[0], axis=0)
    proposal = label_proposal(prediction_network, inference_network, view, target)
  unroll = functools.partial(prediction_network.unroll, view)
  return draw(prediction_network.location_distribution, unroll, proposal, uniforms, sampler)


def dream(
  prediction_network: PredictionNetwork,
  inference_network: InferenceNetwork,
  view: View,
  uniforms: tf.Tensor,
  label_uniforms: tf.Tensor,
) -> tf.Tensor:
  """Draws glimpses and labels from the prediction network and scores them under the proposal.

  Args:
    prediction_network: the prior of the glimpses, and the likelihood of the labels.
    inference_network: the proposal, given the drawn labels.
    view: of B images.
    uniforms: float `[M, B, N, A]` in (0, 1), the random numbers of the glimpses.
    label_uniforms: float `[M, B]` in (0, 1), the random numbers of the labels.

  Returns:
    log q(a | y, image) before each glimpse, float `[M, B, N]`, nats. Carries no gradient to the
    prediction network.
  """
  sequences = prediction_network.attend(view, uniforms)
  # In the sleep phase the drawn glimpses and labels are data.
  log_probs = tf.stop_gradient(sequences.log_probs)
  below = tf.cumsum(tf.exp(log_probs), axis=-1)
  labels = tf.reduce_sum(
    tf.cast(below[..., :-1] <= label_uniforms[..., tf.newaxis], tf.int32), axis=-1
  )
  target = tf.one_hot(labels, log_probs.shape[-1], dtype=view.observation.dtype)  # [M, B, K]
  proposal = label_proposal(prediction_network, inference_network, view, target)
  parameters = proposal.along(sequences)
  return prediction_network.location_distribution.log_prob(parameters, sequences.actions)
