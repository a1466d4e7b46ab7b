"""Exports classifiers: the functions that a server offers, and the version that holds them."""

import os
import pathlib
from collections.abc import Callable, Mapping, Sequence

import tensorflow as tf

from wsram_tf import numerics
from wsram_tf.classification.prediction_network import PredictionNetwork
from wsram_tf.classification.views import View, glimpses_until
from wsram_tf.export import finished_run, publishing
from wsram_tf.export.inputs import IMAGE_CHANNELS, checked_array, decoded_images, with_rows_of
from wsram_tf.export.lent_weights import LentWeights
from wsram_tf.layers import CoreState
from wsram_tf.learning.sampling import stateless_uniforms
from wsram_tf.learning.sequences import along_sequences
from wsram_tf.locations import action_size
from wsram_tf.serving import manifests
from wsram_tf.serving.looking import COUNT_AT, PLACE_AT, SCALE_AT

__all__ = ["build_signatures", "export_classifier"]

# Functions to export, with the specs of their inputs, by name.
_Functions = dict[str, tuple[Callable[..., Mapping[str, tf.Tensor]], list[tf.TensorSpec]]]


def export_classifier(
  run: str | os.PathLike | PredictionNetwork,
  export_dir: str | os.PathLike,
  name: str,
  *,
  averaged_samples: int = 5,
  allowed_batch_sizes: Sequence[int] = publishing.BATCH_SIZES,
  verify: bool = True,
  extensions: Sequence[str] = (),
  class_names: Sequence[str] = (),
  source: str | None = None,
  report: publishing.Report | None = None,
) -> pathlib.Path:
  """Exports a trained classifier as the next version of a model for TensorFlow Serving.

  Writes the version, EXPORT_DIR/NAME/VERSION, and the files that a model server starts with. The
  version is verified through TensorFlow's C++ loader, in another process, before its publication.

  Args:
    run: folder of a finished run, or a trained network, for example of `load_pretrained`.
    export_dir: the folder of all models; created if it does not exist.
    name: of the model, for its clients.
    averaged_samples: glimpse sequences that the signature `classify_averaged` averages.
    allowed_batch_sizes: images, rising; a server fills batches up to these sizes and warms them up.
      The last is the largest batch.
    verify: whether to verify the version.
    extensions: Python files that register the run's estimator, instead of those that it recorded.
    class_names: K names, by label, with a network alone; a run's folder holds its own.
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

  >>> import tempfile
  >>> import wsram_tf
  >>> from wsram_tf.export import export_classifier
  >>> network = wsram_tf.load_pretrained("quickstart")
  >>> with tempfile.TemporaryDirectory() as folder:
  ...   version = export_classifier(network, folder, "digits", verify=False)
  ...   print(version.relative_to(folder), (version / "saved_model.pb").exists())
  digits/1 True
  """
  manifests.check_name(name)
  manifests.check_batch_sizes(allowed_batch_sizes)
  if isinstance(run, PredictionNetwork):
    names = tuple(class_names)
    finished = finished_run.FinishedRun(run, source or "network", None, names, "resize")
  elif class_names:
    raise ValueError("class_names: must not be given with a run, which holds its own")
  else:
    finished = finished_run.load_run(run, extensions)
  network = finished.network.with_observation("pixels")  # Clients send images.
  config = network.config
  module, signatures = build_signatures(network, averaged_samples, finished.class_names)
  if "classify_bytes" not in signatures and report:
    report(f"classify_bytes is left out: no image file holds {config.channels} channels")
  facts = manifests.ClassifierFacts(
    name=name,
    source=source or finished.source,
    test_error_percent=finished.test_error_percent,
    height=config.height,
    width=config.width,
    channels=config.channels,
    num_classes=config.num_classes,
    num_glimpses=config.num_glimpses,
    glimpse_side=config.glimpse.glimpse_side,
    glimpse_scales=config.glimpse.glimpse_scales,
    choose_scale=config.glimpse.chooses_scale,
    averaged_samples=averaged_samples,
    allowed_batch_sizes=list(allowed_batch_sizes),
    class_names=list(finished.class_names),
    fit=finished.fit,
  )
  return publishing.publish(export_dir, module, signatures, facts, verify=verify, report=report)


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

  # The signatures share these functions: inlined, the body would be saved once a signature.
  # Without rows, some kernels that a server's optimiser picks fail.
  @tf.function(input_signature=[images_spec], autograph=False)
  def greedy(images):
    def look():
      sequences = weights.call(lambda: network.attend(network.look(images)))
      return sequences.actions[0], sequences.log_probs[0], sequences.lower[0]

    def no_rows():
      lower = tf.zeros([0, config.num_glimpses, config.units], network.core.compute_dtype)
      return tf.zeros([0, config.num_glimpses, size]), tf.zeros([0, config.num_classes]), lower

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
    actions, log_probs, _ = greedy(checked_array(images, config.image_shape, "images"))
    return {**answer(log_probs), **places(actions)}

  def classify_bytes(image_bytes):
    actions, log_probs, _ = greedy(decoded_images(image_bytes, config.image_shape) / 255.0)
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
    images = checked_array(images, config.image_shape, "images")
    threshold = with_rows_of(_checked_threshold(threshold), "threshold", images, "images")
    actions, _, lower = greedy(images)

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

  signatures = {
    "serving_default": (serving_default, [images_spec]),
    "attend": (attend, [images_spec, seed_spec]),
    "classify_bytes": (classify_bytes, [bytes_spec]),
    "classify_averaged": (classify_averaged, [images_spec, seed_spec]),
    "classify_stepwise": (classify_stepwise, [images_spec, threshold_spec]),
    **_step_functions(network, weights, answer),
  }
  if config.channels not in IMAGE_CHANNELS:
    del signatures["classify_bytes"]
  return module, {
    name: tf.function(function, input_signature=specs, autograph=False).get_concrete_function()
    for name, (function, specs) in signatures.items()
  }


def _step_functions(
  network: PredictionNetwork,
  weights: LentWeights,
  answer: Callable[[tf.Tensor], dict[str, tf.Tensor]],
) -> _Functions:
  """Makes `begin` and `look`, which take glimpses of images that only their client has.

  The state between two calls, float32 `[B, D]`, is the number of glimpses taken, the place of the
  next one, with `no_return` the cells of those taken, and the states of both recurrent layers. It
  leaves out the keys of a `keyed_grid`: they
  are larger than the low-resolution copy that they come from, so `look` takes the copy again.

  Args:
    network: gives the shapes and the glimpses, at its prior's mode.
    weights: of the network.
    answer: makes the outputs about the class from log-probabilities `[B, K]`.
  """
  config, distribution = network.config, network.location_distribution
  glimpse, size = config.glimpse, action_size(distribution)
  copy_shape = [config.context_side, config.context_side, config.channels]
  patches_shape = [glimpse.patches, glimpse.glimpse_side, glimpse.glimpse_side, config.channels]
  no_return = config.location.no_return
  part_sizes = [1, size, config.num_glimpses if no_return else 0, *network.core.state_size]
  state_shape = [sum(part_sizes)]
  copy_spec = tf.TensorSpec([None, *copy_shape], tf.float32, "low_resolution")
  state_spec = tf.TensorSpec([None, *state_shape], tf.float32, "state")
  patches_spec = tf.TensorSpec([None, *patches_shape], tf.float32, "patches")

  def next_state(count, cells, core, view):
    taken = tf.cast(tf.round(cells), tf.int32) if no_return else None
    action = distribution.mode(network.prior(view, core.upper[0], taken))
    # The contract does not depend on the network's precision.
    parts = [tf.cast(part, tf.float32) for part in (count, action, cells, *core.lower, *core.upper)]
    return tf.concat(parts, axis=-1)

  def with_cell(cells, count, action):
    if not no_return:
      return cells
    # A client that changes its state gets another answer, but no error of a kernel.
    cells = tf.clip_by_value(cells, -1.0, config.context_side**2 - 1.0)
    cell = tf.cast(network.cells(action), tf.float32)[:, tf.newaxis]
    return tf.where(tf.range(config.num_glimpses, dtype=tf.float32) == count, cell, cells)

  def place(state):
    scale = {"scale": tf.cast(state[:, SCALE_AT], tf.int64)} if size > 2 else {}
    left = config.num_glimpses - tf.cast(state[:, COUNT_AT], tf.int64)
    return {"glimpses_left": left, "location": state[:, PLACE_AT : PLACE_AT + 2], **scale}

  def begin(low_resolution):
    low_resolution = checked_array(low_resolution, copy_shape, "low_resolution")
    rows = tf.shape(low_resolution)[0]

    def start():
      context = network.context_network(low_resolution)
      view = View(None, context, *network.cells_and_keys(low_resolution))
      cells = tf.fill([rows, part_sizes[2]], -1.0)
      return next_state(tf.zeros([rows, 1]), cells, network.begin(view), view)

    state = tf.cond(rows > 0, lambda: weights.call(start), lambda: tf.zeros([0, *state_shape]))
    return {"state": state, **place(state)}

  def look_with_copy(state, patches, low_resolution):
    state = _checked_state(state, state_shape, network)
    patches = checked_array(patches, patches_shape, "patches")
    patches = with_rows_of(patches, "patches", state, "state")
    if low_resolution is not None:
      low_resolution = checked_array(low_resolution, copy_shape, "low_resolution")
      low_resolution = with_rows_of(low_resolution, "low_resolution", state, "state")

    def step():
      count, action, taken, *parts = tf.split(state, part_sizes, axis=-1)
      half = len(parts) // 2
      core = network.step(CoreState(parts[:half], parts[half:]), action, patches)
      cells = (None, None) if low_resolution is None else network.cells_and_keys(low_resolution)
      log_probs = network.classifier(core.lower[0])
      taken = with_cell(taken, count, action)
      return next_state(count + 1.0, taken, core, View(None, [], *cells)), log_probs

    following, log_probs = tf.cond(
      tf.shape(state)[0] > 0,
      lambda: weights.call(step),
      lambda: (tf.zeros([0, *state_shape]), tf.zeros([0, config.num_classes])),
    )
    return {"state": following, **place(following), **answer(log_probs)}

  def look(state, patches):
    return look_with_copy(state, patches, None)

  looking = (look, [state_spec, patches_spec])
  if network.cell_network:
    looking = (look_with_copy, [state_spec, patches_spec, copy_spec])
  return {"begin": (begin, [copy_spec]), "look": looking}


def _checked_state(state, state_shape, network):
  """Refuses states that no call answered or that no glimpse may follow."""
  state = checked_array(state, state_shape, "state")
  glimpses, scales = network.config.num_glimpses, network.config.glimpse.glimpse_scales
  rules = [(COUNT_AT, glimpses, f"the number of glimpses taken, value {COUNT_AT} of a row")]
  if network.config.glimpse.chooses_scale:
    rules.append((SCALE_AT, scales, f"the scale, value {SCALE_AT} of a row"))
  checks = []
  for at, end, what in rules:
    values = state[:, at]
    is_right = (values >= 0.0) & (values < float(end)) & (values == tf.floor(values))
    message = f"state: {what}, must be a whole number from 0 to {end - 1}; rows and values are:"
    wrong = tf.where(~is_right)[:, 0]
    checks.append(
      tf.debugging.Assert(tf.reduce_all(is_right), [message, wrong, tf.gather(values, wrong)])
    )
  with tf.control_dependencies(checks):
    return tf.identity(state)


def _checked_threshold(threshold):
  """Refuses thresholds that are no probabilities, `[B]`."""
  threshold = checked_array(threshold, [], "threshold")
  is_right = (threshold >= 0.0) & (threshold <= 1.0)
  wrong = tf.where(~is_right)[:, 0]
  check = tf.debugging.Assert(
    tf.reduce_all(is_right),
    ["threshold: must be from 0 to 1; rows and values are:", wrong, tf.gather(threshold, wrong)],
  )
  with tf.control_dependencies([check]):
    return tf.identity(threshold)


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


def _row_uniforms(seed, num_samples, num_glimpses, size):
  """Draws uniform numbers `[B, M, N, size]`, each row from its own seed."""
  return tf.map_fn(
    lambda row: stateless_uniforms([num_samples, num_glimpses, size], tf.stack([row, 0])),
    seed,
    fn_output_signature=tf.TensorSpec([num_samples, num_glimpses, size], tf.float32),
  )
