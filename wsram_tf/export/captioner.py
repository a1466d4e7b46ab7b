"""Exports captioners: the functions that a server offers, and the version that holds them."""

import functools
import os
import pathlib
from collections.abc import Sequence

import keras
import tensorflow as tf

from wsram_tf.captions.beam_search import beam_search
from wsram_tf.captions.caption_network import CaptionNetwork
from wsram_tf.captions.config import EXPORTED_DECODING, DecodingConfig
from wsram_tf.captions.vocabulary import SPECIAL_WORDS, Vocabulary
from wsram_tf.export import finished_run, publishing
from wsram_tf.export.inputs import IMAGE_CHANNELS, checked_array, decoded_images
from wsram_tf.export.lent_weights import LentWeights
from wsram_tf.serving import manifests
from wsram_tf.settings import check_instance, check_path

__all__ = ["LARGEST_PIXELS", "build_caption_signatures", "export_captioner"]

# The largest photograph, height times width: 4,096 squared takes 50 MB decoded.
LARGEST_PIXELS = 4096**2


def export_captioner(
  run: str | os.PathLike | CaptionNetwork,
  export_dir: str | os.PathLike,
  name: str,
  *,
  decoding: DecodingConfig = EXPORTED_DECODING,
  allowed_batch_sizes: Sequence[int] = publishing.BATCH_SIZES,
  verify: bool = True,
  extensions: Sequence[str] = (),
  vocabulary: Vocabulary | None = None,
  source: str | None = None,
  report: publishing.Report | None = None,
) -> pathlib.Path:
  """Exports a trained captioner, with its backbone and its search, for TensorFlow Serving.

  Writes the next version, EXPORT_DIR/NAME/VERSION, and the files that a model server starts with.
  The version is verified through TensorFlow's C++ loader, in another process, before its
  publication.

  Args:
    run: folder of a finished run, or a trained network, for example of a preset.
    export_dir: the folder of all models; created if it does not exist.
    name: of the model, for its clients.
    decoding: the search for a caption.
    allowed_batch_sizes: images, rising; a server fills batches up to these sizes and warms them up.
      The last is the largest batch.
    verify: whether to verify the version.
    extensions: Python files that register the run's estimator, instead of those that it recorded.
    vocabulary: the words, with a network alone; a run's folder holds its own.
    source: where the weights come from, for the manifest; by default the name of the run.
    report: takes the table of the verification and other notes, line by line, for example `print`.

  Returns:
    the version's folder.

  Raises:
    ValueError: if an argument breaks its rule, the run is damaged, or the contract differs from the
      model's latest version.
    OSError: if a file cannot be written; no incomplete version remains.
    VerificationError: if the version fails its verification; nothing is published.

  Example:

  ```python
  version = export_captioner("runs/flickr8k", "models", "captions", report=print)
  ```
  """
  manifests.check_name(name)
  manifests.check_batch_sizes(allowed_batch_sizes)
  check_path("export_dir", export_dir)
  check_instance("decoding", decoding, DecodingConfig)
  if source is not None:
    check_instance("source", source, str)
  if isinstance(run, CaptionNetwork):
    check_instance("vocabulary", vocabulary, Vocabulary)
    finished = finished_run.of_caption_network(run, vocabulary, "network")
  elif vocabulary is not None:
    raise ValueError("vocabulary: must not be given with a run, which holds its own")
  else:
    finished = finished_run.load_caption_run(run, extensions)
  config, backbone = finished.network.config, finished.backbone
  module, signatures = build_caption_signatures(
    finished.network, finished.vocabulary, decoding, backbone
  )
  height, width, channels = finished.image_shape
  facts = manifests.CaptionerFacts(
    name=name,
    source=source or finished.source,
    height=height,
    width=width,
    channels=channels,
    num_glimpses=config.num_glimpses,
    allowed_batch_sizes=list(allowed_batch_sizes),
    largest_pixels=None if backbone is None else LARGEST_PIXELS,
    feature_shape=None if backbone is None else list(config.image_shape),
    test_figures=finished.test_figures,
    vocabulary_size=config.vocabulary_size,
    grid_rows=config.grid_shape[0],
    grid_columns=config.grid_shape[1],
    layer_grids=[list(shape) for shape in config.grid_shapes] if config.layer_shapes else [],
    beam_width=decoding.beam_width,
    length_exponent=decoding.length_exponent,
    averaged_samples=decoding.averaged_samples,
    consensus=decoding.consensus,
    consensus_exponent=decoding.consensus_exponent,
  )
  return publishing.publish(export_dir, module, signatures, facts, verify=verify, report=report)


def build_caption_signatures(
  network: CaptionNetwork,
  vocabulary: Vocabulary,
  config: DecodingConfig,
  backbone: keras.Model | None = None,
) -> tuple[tf.Module, dict[str, tf.types.experimental.ConcreteFunction]]:
  """Makes the module to save and its signatures.

  `serving_default` takes `image_bytes`. The other signature takes the network's own input: with a
  backbone, `caption_features` takes its grids, `features`; without one, `caption_images` takes
  `images` in 0..1. Each answers `caption` (words separated by spaces), `log_prob` (nats, of the
  words and the end), and by position `words` and `locations`, empty and 0 after the last word; of a
  network of several layers also `layers`. A search for the consensus also answers `likeness`, 0 to
  1, the expected likeness of the caption to all that it kept, itself included.

  Args:
    network: trained.
    vocabulary: the words by number.
    config: the search for a caption.
    backbone: makes the network's input, float `[B, H, W, C]`, from float `[B, S, S, 3]` in 0..255.
      With it, files of any size up to LARGEST_PIXELS are stretched to S x S; without it, they must
      have the network's own size.

  Returns:
    the module, which holds each weight once, and the signatures by name.

  Raises:
    ValueError: if the vocabulary or the backbone does not fit the network, or if, without a
      backbone, the network's input has neither 1 nor 3 channels.
  """
  shape = network.config.image_shape
  if len(vocabulary) != network.config.vocabulary_size:
    raise ValueError(
      f"vocabulary: must be {network.config.vocabulary_size} words, as many as the network knows; "
      f"got {len(vocabulary)}"
    )
  if backbone is None and shape[2] not in IMAGE_CHANNELS:
    raise ValueError(
      f"backbone=None: must be given where the network's input, {list(shape)}, is no image of 1 or "
      "3 channels"
    )
  if backbone is not None:
    _check_backbone(backbone, shape)
  # Special words never reach clients: padding and the end become empty, and no search gives others.
  table = tf.constant(["" if word in SPECIAL_WORDS else word for word in vocabulary.words])
  module, weights = tf.Module(name="captioner"), LentWeights(network)
  module.weights = weights.variables
  grid_name = "images" if backbone is None else "features"
  grid_spec = tf.TensorSpec([None, *shape], tf.float32, grid_name)
  bytes_spec = tf.TensorSpec([None], tf.string, "image_bytes")

  # The signatures share this function: inlined, the search would be saved twice.
  @tf.function(input_signature=[grid_spec], autograph=False)
  def describe(grid):
    found = weights.call(beam_search, network, grid, config)
    words = tf.ensure_shape(tf.gather(table, found["words"]), [None, network.config.max_words])
    caption = tf.strings.strip(tf.strings.reduce_join(words, axis=1, separator=" "))
    # Locations after the last word have no meaning.
    is_word = words != ""
    locations = tf.where(is_word[..., tf.newaxis], found["locations"], 0.0)
    more = {}
    if "layers" in found:
      more["layers"] = tf.where(is_word, found["layers"], 0)
    # The contract does not depend on the network's precision.
    log_prob, locations = tf.cast(found["log_prob"], tf.float32), tf.cast(locations, tf.float32)
    if "likeness" in found:
      more["likeness"] = tf.cast(found["likeness"], tf.float32)
    return {
      "caption": caption,
      "log_prob": log_prob,
      "words": words,
      "locations": locations,
      **more,
    }

  def answer(make_grid, rows):
    # Without rows, some kernels that a server's optimiser picks fail.
    return tf.cond(
      rows > 0,
      lambda: describe(make_grid()),
      lambda: {
        name: tf.zeros([0, *spec.shape[1:]], spec.dtype)
        for name, spec in describe.get_concrete_function().structured_outputs.items()
      },
    )

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
