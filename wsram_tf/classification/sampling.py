"""Glimpse sequences of labelled images, drawn and scored, and those that the model makes up."""

import functools

import tensorflow as tf

from wsram_tf.classification.inference_network import InferenceNetwork
from wsram_tf.classification.prediction_network import PredictionNetwork
from wsram_tf.learning.sampling import DrawnSequences, Proposal, Sampler, draw

__all__ = ["draw_sequences", "dream", "tell"]


def tell(
  inference_network: InferenceNetwork,
  target: tf.Tensor,
  num_glimpses: int,
  cells: tf.Tensor | None,
) -> Proposal:
  """Tells an inference network one label a sequence, the same before each glimpse.

  Args:
    inference_network: gives the proposal.
    target: float `[M, B, E]`, the labels' encoding.
    num_glimpses: N.
    cells: what `PredictionNetwork.cells` says of the images.
  """
  told = tf.repeat(target[:, :, tf.newaxis], num_glimpses, axis=2)
  return Proposal(inference_network, told, inference_network.keys(cells))


def draw_sequences(
  prediction_network: PredictionNetwork,
  inference_network: InferenceNetwork | None,
  images: tf.Tensor,
  target: tf.Tensor,
  uniforms: tf.Tensor,
  sampler: Sampler,
) -> DrawnSequences:
  """Draws M sequences for each image and scores them under every distribution.

  Args:
    prediction_network: gives the prior.
    inference_network: gives the proposal; None if the sampler needs none.
    images: float `[B, H, W, C]` in 0..1.
    target: float `[B, E]`, the encoding that the inference network is told.
    uniforms: float `[M, B, N, sampler.numbers_a_glimpse]` in (0, 1).
    sampler: what to draw from.
  """
  low_resolution = prediction_network.context_network.low_resolution(images)
  cells = prediction_network.cells(low_resolution)
  proposal = None
  if inference_network:
    target = tf.repeat(target[tf.newaxis], uniforms.shape[0], axis=0)
    proposal = tell(inference_network, target, uniforms.shape[2], cells)
  unroll = functools.partial(
    prediction_network.unroll, images, low_resolution=low_resolution, cells=cells
  )
  return draw(prediction_network.location_distribution, unroll, proposal, uniforms, sampler)


def dream(
  prediction_network: PredictionNetwork,
  inference_network: InferenceNetwork,
  images: tf.Tensor,
  uniforms: tf.Tensor,
  label_uniforms: tf.Tensor,
) -> tf.Tensor:
  """Scores, under the proposal, glimpses and labels that the prediction network makes up.

  Args:
    prediction_network: gives glimpses, and a label from its likelihood.
    inference_network: gives the proposal, told that label.
    images: float `[B, H, W, C]` in 0..1.
    uniforms: float `[M, B, N, 2]` in (0, 1), what the glimpses are made from.
    label_uniforms: float `[M, B]` in (0, 1), which the labels are made from.

  Returns:
    log q(a | y, image) before each glimpse, float `[M, B, N]`, nats. Carries no gradient to the
    prediction network.
  """
  low_resolution = prediction_network.context_network.low_resolution(images)
  cells = prediction_network.cells(low_resolution)
  sequences = prediction_network.attend(images, uniforms, low_resolution, cells)
  # What is dreamt is data to the inference network.
  log_probs = tf.stop_gradient(sequences.log_probs)
  below = tf.cumsum(tf.exp(log_probs), axis=-1)
  drawn = tf.reduce_sum(
    tf.cast(below[..., :-1] <= label_uniforms[..., tf.newaxis], tf.int32), axis=-1
  )
  target = tf.one_hot(drawn, log_probs.shape[-1], dtype=images.dtype)  # [M, B, K]
  proposal = tell(inference_network, target, uniforms.shape[2], cells)
  parameters = proposal.along(sequences.upper)
  return prediction_network.location_distribution.log_prob(parameters, sequences.locations)
