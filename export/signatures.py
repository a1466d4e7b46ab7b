"""The functions that a server offers, over weights that belong to the export alone.

The module that is saved holds plain variables, not the Keras network: a network that was trained
drags its optimizer along and its own variables cannot be found by the C++ loader. Each call lends
the network these variables in place of its own, read once.
"""

from collections.abc import Sequence

import keras
import tensorflow as tf

import wsram_tf
from wsram_tf import numerics
from wsram_tf.sampling import stateless_uniforms

__all__ = ["IMAGE_CHANNELS", "build_signatures"]

# Channel counts that both PNG and JPEG can hold.
IMAGE_CHANNELS = (1, 3)
_PNG_HEAD = b"\x89PNG\r\n\x1a\n"
_PNG_SIZE = (16, 8)  # Width and height, 4 bytes each, behind the first chunk's name.
_JPEG_HEAD = b"\xff\xd8\xff"


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
  module = tf.Module(name="classifier")
  module.weights = [
    tf.Variable(weight.value, trainable=False, name=weight.path.replace("/", "."))
    for weight in network.weights
  ]

  def with_weights(function, *arguments):
    # Read once a call, not once a glimpse: for one image the operations' number is the time.
    values = [tf.identity(variable) for variable in module.weights]
    lent = list(zip(network.weights, values, strict=True))
    with keras.StatelessScope(state_mapping=lent):
      return function(*arguments)

  images_spec = tf.TensorSpec([None, *config.image_shape], tf.float32, "images")
  seed_spec = tf.TensorSpec([None], tf.int64, "seed")
  bytes_spec = tf.TensorSpec([None], tf.string, "image_bytes")
  uniforms_spec = tf.TensorSpec([None, None, config.num_glimpses, 2], tf.float32, "uniforms")

  # Inner functions, which the signatures share: inlined in each, the body would be saved as often.
  @tf.function(input_signature=[images_spec], autograph=False)
  def greedy(images):
    sequences = with_weights(network.attend, images)
    return sequences.locations[0], sequences.log_probs[0]

  @tf.function(input_signature=[images_spec, uniforms_spec], autograph=False)
  def sampled(images, uniforms):
    rows = tf.reshape(uniforms, [-1, config.num_glimpses, 2])  # [B * M, N, 2]

    def choose_location(n, upper, prior):
      return network.location_distribution.sample(prior, rows[:, n])

    # Not `network.attend`, which would need a body of its own for each number of samples.
    sequences = with_weights(network.unroll, images, tf.shape(uniforms)[1], choose_location)
    return sequences.locations, sequences.log_prior, sequences.log_probs

  def answer(log_probs):
    class_id = tf.argmax(log_probs, axis=-1)
    names = {"class_name": tf.gather(tf.constant(class_names), class_id)} if class_names else {}
    return {"class_id": class_id, "probabilities": tf.exp(log_probs), **names}

  def serving_default(images):
    locations, log_probs = greedy(_checked_images(images, config))
    return {**answer(log_probs), "locations": locations}

  def classify_bytes(image_bytes):
    locations, log_probs = greedy(_decoded_images(image_bytes, config))
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


def _checked_images(images, config):
  # A server does not enforce a signature's shape; without this line three channels would be read as
  # three times the batch.
  images = tf.ensure_shape(images, [None, *config.image_shape])
  # A sum is finite only where all its terms are, and is ten times as fast to check.
  finite = tf.debugging.assert_all_finite(
    tf.reduce_sum(images, axis=[1, 2, 3]), "images: must be finite, without NaN or infinity"
  )
  with tf.control_dependencies([finite]):
    return tf.identity(images)


def _checked_images_and_seed(images, seed, config):
  images, seed = _checked_images(images, config), tf.ensure_shape(seed, [None])
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


def _decoded_images(image_bytes, config):
  """Images `[B, H, W, C]` in 0..1 from the bytes of PNG or JPEG files `[B]`."""
  image_bytes = tf.ensure_shape(image_bytes, [None])
  # Not a regular expression: those cannot match the first byte of a PNG, which is no UTF-8.
  is_png = tf.strings.substr(image_bytes, 0, len(_PNG_HEAD)) == _PNG_HEAD
  is_jpeg = tf.strings.substr(image_bytes, 0, len(_JPEG_HEAD)) == _JPEG_HEAD
  whole_head = tf.strings.length(image_bytes) >= sum(_PNG_SIZE)
  known = tf.debugging.Assert(
    tf.reduce_all((is_png | is_jpeg) & whole_head),
    [
      "image_bytes: each row must be a PNG or JPEG file; these rows are not:",
      tf.where(~((is_png | is_jpeg) & whole_head))[:, 0],
    ],
  )
  with tf.control_dependencies([known]):
    image_bytes = tf.identity(image_bytes)
  pixels = tf.map_fn(
    lambda row: _decoded_image(*row, config),
    (tf.range(tf.shape(image_bytes)[0]), image_bytes, is_png),
    fn_output_signature=tf.TensorSpec(config.image_shape, tf.uint8),
  )
  return tf.cast(pixels, tf.float32) / 255.0


def _decoded_image(index, contents, is_png, config):
  def png_size():
    width, height = tf.unstack(
      tf.io.decode_raw(tf.strings.substr(contents, *_PNG_SIZE), tf.int32, little_endian=False), 2
    )
    return height, width

  def jpeg_size():
    with tf.name_scope("image_bytes_must_hold_a_whole_JPEG"):
      height, width, _ = tf.unstack(tf.image.extract_jpeg_shape(contents), 3)
    return height, width

  # The header tells the size before any pixel is decoded: a file of 170 KB can hold 144 million.
  height, width = tf.cond(is_png, png_size, jpeg_size)
  right_size = tf.debugging.Assert(
    (height == config.height) & (width == config.width),
    [
      f"image_bytes: each image must be {config.height} pixels high and {config.width} wide; "
      "row, height and width are:",
      index,
      height,
      width,
    ],
  )
  with tf.control_dependencies([right_size]):
    contents = tf.identity(contents)
  # The scope's name is part of the message that a file cut short is refused with.
  with tf.name_scope("image_bytes_must_hold_a_whole_PNG_or_JPEG"):
    pixels = tf.io.decode_image(contents, config.channels, expand_animations=False)
  return tf.ensure_shape(pixels, config.image_shape)
