"""The functions that a server offers for a captioner: the search for a caption, in the graph."""

import functools

import keras
import tensorflow as tf
from image_inputs import IMAGE_CHANNELS, checked_array, decoded_images
from lent_weights import LentWeights

import wsram_tf
from wsram_tf.captions import beam_search
from wsram_tf.captions.vocabulary import SPECIAL_WORDS, Vocabulary

__all__ = ["LARGEST_PIXELS", "build_caption_signatures"]

# Of a photograph, height times width: 4,096 squared, which is 50 MB once decoded.
LARGEST_PIXELS = 4096**2


def build_caption_signatures(
  network: wsram_tf.CaptionNetwork,
  vocabulary: Vocabulary,
  config: wsram_tf.DecodingConfig,
  backbone: keras.Model | None = None,
) -> tuple[tf.Module, dict[str, tf.types.experimental.ConcreteFunction]]:
  """Makes the module to save and its signatures.

  `serving_default` takes `image_bytes`. Beside it, what the network itself takes: with a backbone
  `caption_features` takes its grids, `features`; without one `caption_images` takes `images` in
  0..1. Each answers `caption` (words parted by spaces), `log_prob` (nats, of the words and the
  end), and by place `words` and `locations`, empty and 0 behind the caption's last word.

  Args:
    network: trained; glimpses are at its prior's mode.
    vocabulary: the words by number.
    config: how a caption is searched for.
    backbone: makes the network's input, float `[B, H, W, C]`, from float `[B, S, S, 3]` in 0..255.
      With it, files of any size up to LARGEST_PIXELS are stretched to S x S; without it, they must
      be of the network's own size.

  Returns:
    the module, which holds each weight once, and the signatures by name.

  Raises:
    ValueError: if the vocabulary or the backbone does not fit the network, or there is no backbone
      and no image file holds what the network takes.
  """
  shape = network.config.image_shape
  if len(vocabulary) != network.config.vocabulary_size:
    raise ValueError(
      f"vocabulary: must be {network.config.vocabulary_size} words, as many as the network says; "
      f"got {len(vocabulary)}"
    )
  if backbone is None and shape[2] not in IMAGE_CHANNELS:
    raise ValueError(
      f"backbone=None: must be given where the network's input, {list(shape)}, is no image of 1 or "
      "3 channels"
    )
  if backbone is not None:
    _check_backbone(backbone, shape)
  # Nobody is shown the special words: padding and the end are nothing, the others are never said.
  table = tf.constant(["" if word in SPECIAL_WORDS else word for word in vocabulary.words])
  module, weights = tf.Module(name="captioner"), LentWeights(network)
  module.weights = weights.variables
  grid_name = "images" if backbone is None else "features"
  grid_spec = tf.TensorSpec([None, *shape], tf.float32, grid_name)
  bytes_spec = tf.TensorSpec([None], tf.string, "image_bytes")

  # The signatures share it: inlined in each, the search would be saved twice.
  @tf.function(input_signature=[grid_spec], autograph=False)
  def describe(grid):
    found = weights.call(beam_search, network, grid, config)
    words = tf.ensure_shape(tf.gather(table, found["words"]), [None, network.config.max_words])
    caption = tf.strings.strip(tf.strings.reduce_join(words, axis=1, separator=" "))
    # Where no word was said, the last glimpses went nowhere that means anything.
    locations = tf.where((words != "")[..., tf.newaxis], found["locations"], 0.0)
    # The contract is the same whatever precision the network computes in.
    return [caption, tf.cast(found["log_prob"], tf.float32), words, tf.cast(locations, tf.float32)]

  def answer(make_grid, rows):
    # Some layers' kernels, as a server's optimiser picks them, fail where there is no row at all.
    outputs = tf.cond(
      rows > 0,
      lambda: describe(make_grid()),
      lambda: [
        tf.zeros([0, *spec.shape[1:]], spec.dtype)
        for spec in describe.get_concrete_function().structured_outputs
      ],
    )
    return dict(zip(("caption", "log_prob", "words", "locations"), outputs, strict=True))

  def caption_grids(grids):
    grids = checked_array(grids, shape, grid_name)
    return answer(lambda: grids, tf.shape(grids)[0])

  def caption_files(image_bytes):
    if backbone is None:
      pixels = decoded_images(image_bytes, shape)
      return answer(lambda: pixels / 255.0, tf.shape(pixels)[0])
    pixels = decoded_images(image_bytes, backbone.inputs[0].shape[1:], LARGEST_PIXELS)
    see = functools.partial(backbone, pixels, training=False)
    return answer(lambda: tf.cast(backbone_weights.call(see), tf.float32), tf.shape(pixels)[0])

  if backbone is not None:
    backbone_weights = LentWeights(backbone)
    module.backbone_weights = backbone_weights.variables
  return module, {
    name: tf.function(function, input_signature=[spec], autograph=False).get_concrete_function()
    for name, function, spec in (
      ("serving_default", caption_files, bytes_spec),
      (f"caption_{grid_name}", caption_grids, grid_spec),
    )
  }


def _check_backbone(backbone, shape):
  inputs, outputs = backbone.inputs[0].shape, backbone.outputs[0].shape
  if len(inputs) != 4 or None in inputs[1:] or inputs[3] != 3:
    raise ValueError(
      f"backbone: must take images [B, S, S, 3] of one size; it takes {list(inputs)}"
    )
  if tuple(outputs[1:]) != tuple(shape):
    raise ValueError(
      f"backbone: must make the network's input, {list(shape)}; it makes {list(outputs[1:])}"
    )
