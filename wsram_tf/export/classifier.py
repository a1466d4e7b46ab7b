"""Exports classifiers as versions of models for TensorFlow Serving."""

import os
import pathlib
from collections.abc import Sequence

from wsram_tf.classification.prediction_network import PredictionNetwork
from wsram_tf.export import finished_run, publishing
from wsram_tf.export.signatures.images import build_signatures
from wsram_tf.serving import manifests
from wsram_tf.settings import check_instance, check_path

__all__ = ["export_classifier"]


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

  >>> import wsram_tf
  >>> from wsram_tf.export import export_classifier
  >>> config = wsram_tf.ModelConfig(height=28, width=28, units=32, num_glimpses=2)
  >>> network = wsram_tf.PredictionNetwork(config)  # Or the folder of a run.
  >>> version = export_classifier(network, "served", "digits", verify=False)
  >>> version.as_posix(), (version / "saved_model.pb").exists()
  ('served/digits/1', True)
  """
  manifests.check_name(name)
  manifests.check_batch_sizes(allowed_batch_sizes)
  check_path("export_dir", export_dir)
  if not isinstance(class_names, list | tuple) or not all(isinstance(n, str) for n in class_names):
    raise ValueError(f"class_names={class_names!r:.200}: must be a list of names")
  if source is not None:
    check_instance("source", source, str)
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
