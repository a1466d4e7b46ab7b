"""The functions that a server offers for a classifier, over weights that are the export's own."""

from collections.abc import Sequence

import tensorflow as tf
from image_inputs import IMAGE_CHANNELS, checked_array, decoded_images
from lent_weights import LentWeights

import wsram_tf
from wsram_tf import numerics
from wsram_tf.learning.sampling import stateless_uniforms

__all__ = ["build_signatures"]


def build_signatures(
  network: wsram_tf.PredictionNetwork, averaged_samples: int, class_names: Sequence[str] = ()
) -> tuple[tf.Module, dict[str, tf.types.experimental.ConcreteFunction]]:
  """Makes the module to save and its signatures.

  Args:
    network: trained; glimpses come from its prior.
    averaged_samples: glimpse sequences that `classify_averaged` takes the mean over.
    class_names: K names, by label; with them every signature also tells the class's name,
      `class_name`. Empty where a class has none but its number.

  Returns:
    the module, which holds each weight once, and the signatures by name. `classify_bytes` is left
    out where the channels are neither 1 (grey) nor 3 (colour), since no image file holds them.

  Raises:
    ValueError: if averaged_samples is below 1, or there are names, but not one for each class.
  """
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
  uniforms_spec = tf.TensorSpec([None, None, config.num_glimpses, 2], tf.float32, "uniforms")

  # Inner functions, which the signatures share: inlined in each, the body would be saved as often.
  # Where there is no row, some layers' kernels fail, as a server's optimiser picks them.
  @tf.function(input_signature=[images_spec], autograph=False)
  def greedy(images):
    def look():
      sequences = weights.call(lambda: network.attend(network.look(images)))
      return sequences.locations[0], sequences.log_probs[0]

    def no_rows():
      return tf.zeros([0, config.num_glimpses, 2]), tf.zeros([0, config.num_classes])

    return tf.cond(tf.shape(images)[0] > 0, look, no_rows)

  @tf.function(input_signature=[images_spec, uniforms_spec], autograph=False)
  def sampled(images, uniforms):
    rows = tf.reshape(uniforms, [-1, config.num_glimpses, 2])  # [B * M, N, 2]

    def choose_location(n, upper, prior):
      return network.location_distribution.sample(prior, rows[:, n])

    # Not `network.attend`, which would need a body of its own for each number of samples.
    num_samples = tf.shape(uniforms)[1]

    def look():
      sequences = weights.call(
        lambda: network.unroll(network.look(images), num_samples, choose_location)
      )
      return sequences.locations, sequences.log_prior, sequences.log_probs

    def no_rows():
      shapes = [config.num_glimpses, 2], [config.num_glimpses], [config.num_classes]
      return tuple(tf.zeros([num_samples, 0, *shape]) for shape in shapes)

    return tf.cond(tf.shape(images)[0] > 0, look, no_rows)

  def answer(log_probs):
    class_id = tf.argmax(log_probs, axis=-1)
    names = {"class_name": tf.gather(tf.constant(class_names), class_id)} if class_names else {}
    return {"class_id": class_id, "probabilities": tf.exp(log_probs), **names}

  def serving_default(images):
    locations, log_probs = greedy(checked_array(images, config.image_shape, "images"))
    return {**answer(log_probs), "locations": locations}

  def classify_bytes(image_bytes):
    locations, log_probs = greedy(decoded_images(image_bytes, config.image_shape) / 255.0)
    return {**answer(log_probs), "locations": locations}

  def attend(images, seed):
    images, seed = _checked_images_and_seed(images, seed, config)
    uniforms = _row_uniforms(seed, 1, config.num_glimpses)
    locations, log_prior, log_probs = sampled(images, uniforms)
    return {**answer(log_probs[0]), "locations": locations[0], "log_prob": log_prior[0]}

  def classify_averaged(images, seed):
    images, seed = _checked_images_and_seed(images, seed, config)
    uniforms = _row_uniforms(seed, averaged_samples, config.num_glimpses)
    _, _, log_probs = sampled(images, uniforms)
    return answer(numerics.log_mean_exp(log_probs))

  signatures = {
    "serving_default": (serving_default, [images_spec]),
    "attend": (attend, [images_spec, seed_spec]),
    "classify_bytes": (classify_bytes, [bytes_spec]),
    "classify_averaged": (classify_averaged, [images_spec, seed_spec]),
  }
  if config.channels not in IMAGE_CHANNELS:
    del signatures["classify_bytes"]
  return module, {
    name: tf.function(function, input_signature=specs, autograph=False).get_concrete_function()
    for name, (function, specs) in signatures.items()
  }


def _checked_images_and_seed(images, seed, config):
  images = checked_array(images, config.image_shape, "images")
  seed = tf.ensure_shape(seed, [None])
  seeds, rows = tf.shape(seed)[0], tf.shape(images)[0]
  counted = tf.debugging.Assert(
    seeds == rows,
    ["seed: must hold one number for each row of images; numbers and rows are:", seeds, rows],
  )
  with tf.control_dependencies([counted]):
    return tf.identity(images), seed


def _row_uniforms(seed, num_samples, num_glimpses):
  """Uniform numbers `[B, M, N, 2]`, each row's from its own seed, whatever the other rows are."""
  return tf.map_fn(
    lambda row: stateless_uniforms([num_samples, num_glimpses, 2], tf.stack([row, 0])),
    seed,
    fn_output_signature=tf.TensorSpec([num_samples, num_glimpses, 2], tf.float32),
  )
