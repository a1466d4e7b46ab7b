"""The signatures of a classifier that take whole images, and the module that holds them all."""

from collections.abc import Sequence

import tensorflow as tf

from wsram_tf import numerics
from wsram_tf.classification.prediction_network import PredictionNetwork
from wsram_tf.classification.views import View, glimpses_until, priors_along
from wsram_tf.export.inputs import (
  IMAGE_CHANNELS,
  Rule,
  checked,
  checked_array,
  decoded_images,
  finite_rule,
  row_rule,
  same_rows_rule,
  shaped,
)
from wsram_tf.export.lent_weights import LentWeights
from wsram_tf.export.signatures.glimpses import glimpse_functions
from wsram_tf.learning.sampling import stateless_uniforms
from wsram_tf.learning.sequences import along_sequences
from wsram_tf.locations import action_size, location_map

__all__ = ["build_signatures"]


def build_signatures(
  network: PredictionNetwork, averaged_samples: int, class_names: Sequence[str] = ()
) -> tuple[tf.Module, dict[str, tf.types.experimental.ConcreteFunction]]:
  """Makes the module to save and its signatures.

  Args:
    network: trained; glimpses come from its prior.
    averaged_samples: glimpse sequences that `classify_averaged` averages.
    class_names: K names, by label; every signature that answers a class then answers its name,
      `class_name`, too. Empty where classes have numbers alone.

  Returns:
    the module, which holds each weight once, and the signatures by name. `classify_bytes` is absent
    unless the channels are 1 (grey) or 3 (colour), since image files hold no others.

  Raises:
    ValueError: if averaged_samples is below 1, or the number of names is not K.
  """
  if type(averaged_samples) is not int:
    raise ValueError(f"averaged_samples={averaged_samples!r:.200}: must be a whole number")
  if averaged_samples < 1:
    raise ValueError(f"averaged_samples={averaged_samples}: must be at least 1")
  config = network.config
  if class_names and len(class_names) != config.num_classes:
    raise ValueError(
      f"class_names: must be {config.num_classes}, one for each class; got {len(class_names)}"
    )
  module, weights = tf.Module(name="classifier"), LentWeights(network)
  module.weights = weights.variables

  images_spec = tf.TensorSpec([None, *config.image_shape], tf.float32, "images")
  seed_spec = tf.TensorSpec([None], tf.int64, "seed")
  bytes_spec = tf.TensorSpec([None], tf.string, "image_bytes")
  size = action_size(network.location_distribution)
  threshold_spec = tf.TensorSpec([None], tf.float32, "threshold")
  uniforms_spec = tf.TensorSpec([None, None, config.num_glimpses, size], tf.float32, "uniforms")

  # The fastest without XLA, which a stock CPU server does not use.
  cutting = "windows" if network.compute_dtype == "float32" else "gather"

  # The signatures share these functions: inlined, the body would be saved once a signature.
  # Without rows, some kernels that a server's optimiser picks fail.
  @tf.function(input_signature=[images_spec], autograph=False)
  def greedy(images):
    def look():
      sequences = weights.call(lambda: network.attend(network.look(images, cutting=cutting)))
      layers = sequences.lower[0], sequences.upper[0]
      return sequences.actions[0], sequences.log_probs[0], *layers

    def no_rows():
      layer = tf.zeros([0, config.num_glimpses, config.units], network.core.compute_dtype)
      actions = tf.zeros([0, config.num_glimpses, size])
      return actions, tf.zeros([0, config.num_classes]), layer, layer

    return tf.cond(tf.shape(images)[0] > 0, look, no_rows)

  @tf.function(input_signature=[images_spec, uniforms_spec], autograph=False)
  def sampled(images, uniforms):
    rows = tf.reshape(uniforms, [-1, config.num_glimpses, size])  # [B * M, N, A]

    def choose_action(n, upper, prior):
      return network.location_distribution.sample(prior, rows[:, n])

    # `network.attend` would need a body of its own for each number of samples.
    num_samples = tf.shape(uniforms)[1]

    def look():
      sequences = weights.call(
        lambda: network.unroll(network.look(images), num_samples, choose_action)
      )
      return sequences.actions, sequences.log_prior, sequences.log_probs

    def no_rows():
      shapes = [config.num_glimpses, size], [config.num_glimpses], [config.num_classes]
      return tuple(tf.zeros([num_samples, 0, *shape]) for shape in shapes)

    return tf.cond(tf.shape(images)[0] > 0, look, no_rows)

  def answer(log_probs):
    class_id = tf.argmax(log_probs, axis=-1)
    names = {"class_name": tf.gather(tf.constant(class_names), class_id)} if class_names else {}
    return {"class_id": class_id, "probabilities": tf.exp(log_probs), **names}

  def places(actions):
    if size == 2:
      return {"locations": actions}
    return {"locations": actions[..., :2], "scales": tf.cast(actions[..., 2], tf.int64)}

  def serving_default(images):
    actions, log_probs, *_ = greedy(checked_array(images, config.image_shape, "images"))
    return {**answer(log_probs), **places(actions)}

  def classify_bytes(image_bytes):
    actions, log_probs, *_ = greedy(decoded_images(image_bytes, config.image_shape) / 255.0)
    return {**answer(log_probs), **places(actions)}

  def attend(images, seed):
    images, seed = _checked_images_and_seed(images, seed, config)
    uniforms = _row_uniforms(seed, 1, config.num_glimpses, size)
    actions, log_prior, log_probs = sampled(images, uniforms)
    return {**answer(log_probs[0]), **places(actions[0]), "log_prob": log_prior[0]}

  def classify_averaged(images, seed):
    images, seed = _checked_images_and_seed(images, seed, config)
    uniforms = _row_uniforms(seed, averaged_samples, config.num_glimpses, size)
    _, _, log_probs = sampled(images, uniforms)
    return answer(numerics.log_mean_exp(log_probs))

  def classify_stepwise(images, threshold):
    images, threshold = shaped(images, config.image_shape), shaped(threshold, [])
    rules = [
      finite_rule(images, "images"),
      finite_rule(threshold, "threshold"),
      row_rule(
        (threshold >= 0.0) & (threshold <= 1.0),
        "threshold: must be from 0 to 1; rows and values are:",
        threshold,
      ),
      same_rows_rule(threshold, "threshold", images, "images"),
    ]
    images, threshold = checked(rules, images, threshold)
    actions, _, lower, _ = greedy(images)

    def classify():
      return along_sequences(network.classifier, lower[tf.newaxis])[0]

    log_probs = tf.cond(
      tf.shape(images)[0] > 0,
      lambda: weights.call(classify),
      lambda: tf.zeros([0, config.num_glimpses, config.num_classes]),
    )
    glimpses = glimpses_until(tf.exp(log_probs), threshold)
    stop = answer(tf.gather(log_probs, glimpses - 1, batch_dims=1))
    return {**stop, "probabilities": tf.exp(log_probs), "glimpses": glimpses, **places(actions)}

  def prior_map(images):
    images = checked_array(images, config.image_shape, "images")
    actions, _, _, upper = greedy(images)

    def spread():
      observation = network.observe(images)
      cells = network.cells_and_keys(observation.low_resolution(config.context_side))
      view = View(observation, [], *cells)
      along = (one[tf.newaxis] for one in (actions, upper))
      return location_map(network.location_distribution, priors_along(network, view, *along)[0])

    # The parameters of no row have the family's shape, which the maps get from it.
    parameters = tf.zeros([0, config.num_glimpses, network.location_distribution.num_parameters])
    prior = tf.cond(
      tf.shape(images)[0] > 0,
      lambda: weights.call(spread),
      lambda: location_map(network.location_distribution, parameters),
    )
    return {"prior": prior, **places(actions)}

  signatures = {
    "serving_default": (serving_default, [images_spec]),
    "attend": (attend, [images_spec, seed_spec]),
    "classify_bytes": (classify_bytes, [bytes_spec]),
    "classify_averaged": (classify_averaged, [images_spec, seed_spec]),
    "classify_stepwise": (classify_stepwise, [images_spec, threshold_spec]),
    "prior_map": (prior_map, [images_spec]),
    **glimpse_functions(network, weights, answer),
  }
  if config.channels not in IMAGE_CHANNELS:
    del signatures["classify_bytes"]
  return module, {
    name: tf.function(function, input_signature=specs, autograph=False).get_concrete_function()
    for name, (function, specs) in signatures.items()
  }


def _checked_images_and_seed(images, seed, config):
  images, seed = shaped(images, config.image_shape), shaped(seed, [])
  seeds, rows = tf.shape(seed)[0], tf.shape(images)[0]
  message = "seed: must hold one number for each row of images; numbers and rows are:"
  one_each = Rule(seeds == rows, lambda: [message, seeds, rows])
  return checked([finite_rule(images, "images"), one_each], images, seed)


def _row_uniforms(seed, num_samples, num_glimpses, size):
  """Draws uniform numbers `[B, M, N, size]`, each row from its own seed."""
  return tf.map_fn(
    lambda row: stateless_uniforms([num_samples, num_glimpses, size], tf.stack([row, 0])),
    seed,
    fn_output_signature=tf.TensorSpec([num_samples, num_glimpses, size], tf.float32),
  )
