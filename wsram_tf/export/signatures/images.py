"""The signatures of a classifier that take whole images, and the module that holds them all."""

from collections.abc import Callable, Mapping, Sequence

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
  classes = network.config.num_classes
  if class_names and len(class_names) != classes:
    raise ValueError(f"class_names: must be {classes}, one for each class; got {len(class_names)}")
  signatures = _ImageSignatures(network, averaged_samples, class_names)
  module = tf.Module(name="classifier")
  module.weights = signatures.weights.variables
  functions = {
    **signatures.functions(),
    **glimpse_functions(network, signatures.weights, signatures.answer),
  }
  return module, {
    name: tf.function(function, input_signature=specs, autograph=False).get_concrete_function()
    for name, (function, specs) in functions.items()
  }


class _ImageSignatures:
  """The functions that take whole images, a method for each signature.

  `greedy` and `sampled` run the network. All signatures share them, because inlined, their bodies
  would be saved once a signature. Without rows, some kernels that a server's optimiser picks fail,
  so each use of the network is in a branch for batches with rows.

  Args:
    network: trained; glimpses come from its prior.
    averaged_samples: glimpse sequences that `classify_averaged` averages.
    class_names: K names, by label; empty where classes have numbers alone.

  Attributes:
    weights: the network's weights, as the exported module holds them.
  """

  def __init__(self, network: PredictionNetwork, averaged_samples: int, class_names: Sequence[str]):
    self.network = network
    self.averaged_samples = averaged_samples
    self.class_names = class_names
    self.weights = LentWeights(network)
    self._action_size = action_size(network.location_distribution)
    # The fastest without XLA, which a stock CPU server does not use.
    self._cutting = "windows" if network.compute_dtype == "float32" else "gather"
    self._images = tf.TensorSpec([None, *network.config.image_shape], tf.float32, "images")
    uniforms = tf.TensorSpec([None, None, *self._actions_shape], tf.float32, "uniforms")
    self.greedy = tf.function(self._greedy, input_signature=[self._images], autograph=False)
    self.sampled = tf.function(
      self._sampled, input_signature=[self._images, uniforms], autograph=False
    )

  def functions(self) -> Mapping[str, tuple[Callable[..., Mapping], list[tf.TensorSpec]]]:
    """The functions to export, with the specs of their inputs, by name."""
    seed = tf.TensorSpec([None], tf.int64, "seed")
    image_bytes = tf.TensorSpec([None], tf.string, "image_bytes")
    threshold = tf.TensorSpec([None], tf.float32, "threshold")
    functions = {
      "serving_default": (self.serving_default, [self._images]),
      "attend": (self.attend, [self._images, seed]),
      "classify_bytes": (self.classify_bytes, [image_bytes]),
      "classify_averaged": (self.classify_averaged, [self._images, seed]),
      "classify_stepwise": (self.classify_stepwise, [self._images, threshold]),
      "prior_map": (self.prior_map, [self._images]),
    }
    if self.network.config.channels not in IMAGE_CHANNELS:
      del functions["classify_bytes"]
    return functions

  def serving_default(self, images):
    """Classes and glimpses at the mode of the prior."""
    images = checked_array(images, self.network.config.image_shape, "images")
    actions, log_probs, *_ = self.greedy(images)
    return {**self.answer(log_probs), **self._places(actions)}

  def classify_bytes(self, image_bytes):
    """The same for image files."""
    images = decoded_images(image_bytes, self.network.config.image_shape) / 255.0
    actions, log_probs, *_ = self.greedy(images)
    return {**self.answer(log_probs), **self._places(actions)}

  def attend(self, images, seed):
    """Classes after one sampled sequence of glimpses, and the sequence's log-density."""
    images, seed = self._checked_images_and_seed(images, seed)
    actions, log_prior, log_probs = self.sampled(images, self._row_uniforms(seed, 1))
    return {**self.answer(log_probs[0]), **self._places(actions[0]), "log_prob": log_prior[0]}

  def classify_averaged(self, images, seed):
    """Classes by the mean probability over several sampled sequences."""
    images, seed = self._checked_images_and_seed(images, seed)
    _, _, log_probs = self.sampled(images, self._row_uniforms(seed, self.averaged_samples))
    return self.answer(numerics.log_mean_exp(log_probs))

  def classify_stepwise(self, images, threshold):
    """Class probabilities after each glimpse, and the class at the first that is sure enough."""
    config = self.network.config
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
    actions, _, lower, _ = self.greedy(images)

    def classify():
      return along_sequences(self.network.classifier, lower[tf.newaxis])[0]

    log_probs = tf.cond(
      tf.shape(images)[0] > 0,
      lambda: self.weights.call(classify),
      lambda: tf.zeros([0, config.num_glimpses, config.num_classes]),
    )
    glimpses = glimpses_until(tf.exp(log_probs), threshold)
    stop = self.answer(tf.gather(log_probs, glimpses - 1, batch_dims=1))
    return {
      **stop,
      "probabilities": tf.exp(log_probs),
      "glimpses": glimpses,
      **self._places(actions),
    }

  def prior_map(self, images):
    """Maps of where the prior may look before each glimpse."""
    network, config = self.network, self.network.config
    images = checked_array(images, config.image_shape, "images")
    actions, _, _, upper = self.greedy(images)

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
      lambda: self.weights.call(spread),
      lambda: location_map(network.location_distribution, parameters),
    )
    return {"prior": prior, **self._places(actions)}

  def answer(self, log_probs: tf.Tensor) -> dict[str, tf.Tensor]:
    """The outputs about the class, from log-probabilities `[B, K]`."""
    class_id = tf.argmax(log_probs, axis=-1)
    named = {}
    if self.class_names:
      named["class_name"] = tf.gather(tf.constant(self.class_names), class_id)
    return {"class_id": class_id, "probabilities": tf.exp(log_probs), **named}

  @property
  def _actions_shape(self) -> list[int]:
    return [self.network.config.num_glimpses, self._action_size]

  def _greedy(self, images):
    """Actions, log-probabilities, and both layers, of sequences at the mode of the prior."""
    network, config = self.network, self.network.config

    def look():
      view = network.look(images, cutting=self._cutting)
      sequences = network.attend(view)
      layers = sequences.lower[0], sequences.upper[0]
      return sequences.actions[0], sequences.log_probs[0], *layers

    def no_rows():
      layer = tf.zeros([0, config.num_glimpses, config.units], network.core.compute_dtype)
      return tf.zeros([0, *self._actions_shape]), tf.zeros([0, config.num_classes]), layer, layer

    return tf.cond(tf.shape(images)[0] > 0, lambda: self.weights.call(look), no_rows)

  def _sampled(self, images, uniforms):
    """Actions, log-densities and log-probabilities of sequences made from `[B, M, N, A]`."""
    network, config = self.network, self.network.config
    rows = tf.reshape(uniforms, [-1, *self._actions_shape])  # [B * M, N, A]

    def choose_action(n, upper, prior):
      return network.location_distribution.sample(prior, rows[:, n])

    # `network.attend` would need a body of its own for each number of samples.
    num_samples = tf.shape(uniforms)[1]

    def look():
      sequences = network.unroll(network.look(images), num_samples, choose_action)
      return sequences.actions, sequences.log_prior, sequences.log_probs

    def no_rows():
      shapes = self._actions_shape, [config.num_glimpses], [config.num_classes]
      return tuple(tf.zeros([num_samples, 0, *shape]) for shape in shapes)

    return tf.cond(tf.shape(images)[0] > 0, lambda: self.weights.call(look), no_rows)

  def _places(self, actions):
    if self._action_size == 2:
      return {"locations": actions}
    return {"locations": actions[..., :2], "scales": tf.cast(actions[..., 2], tf.int64)}

  def _checked_images_and_seed(self, images, seed):
    images, seed = shaped(images, self.network.config.image_shape), shaped(seed, [])
    seeds, rows = tf.shape(seed)[0], tf.shape(images)[0]
    message = "seed: must hold one number for each row of images; numbers and rows are:"
    one_each = Rule(seeds == rows, lambda: [message, seeds, rows])
    return checked([finite_rule(images, "images"), one_each], images, seed)

  def _row_uniforms(self, seed, num_samples):
    """Draws uniform numbers `[B, M, N, A]`, each row from its own seed."""
    shape = [num_samples, *self._actions_shape]
    return tf.map_fn(
      lambda row: stateless_uniforms(shape, tf.stack([row, 0])),
      seed,
      fn_output_signature=tf.TensorSpec(shape, tf.float32),
    )
