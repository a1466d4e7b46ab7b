"""Writes the files beside the models: those that a model server starts with, and a page about them.

They lie in the folder that holds the models' folders. Their paths are those in a container
(/models), so that the folder can be moved; the page gives the commands without a container.
"""

import importlib.resources
import os
import pathlib
from collections.abc import Mapping, Sequence

from wsram_tf import files
from wsram_tf.serving import manifests

__all__ = ["write_server_files"]

_MONITORING_CONFIG = """\
prometheus_config {
  enable: true
  path: "/monitoring/prometheus/metrics"
}
"""
_CLASSIFIERS = """\
| model | version | image (height x width x channels) | classes | glimpses | test error |
|---|---|---|---|---|---|
"""
_CAPTIONERS = """\
| model that describes | version | image (height x width x channels) | words known | longest \
caption | beam width | glimpse sequences averaged (0: one, at the mode) | test figures |
|---|---|---|---|---|---|---|---|
"""


def write_server_files(export_dir: str | os.PathLike, name: str) -> list[str]:
  """Writes models.config, batching_parameters.txt, monitoring.config and README.md.

  Files that a person changed stay as they are.

  Args:
    export_dir: the folder of all models.
    name: of the last exported model, for the page's examples.

  Returns:
    the names of the changed files that stay although this export would write another content.

  Raises:
    OSError: if a file cannot be written.
  """
  export_dir = pathlib.Path(export_dir)
  latest = _latest_manifests(export_dir)
  others = [other for other in latest if other != name]
  batching = _batching_parameters(latest[name].facts.allowed_batch_sizes)
  texts = {  # The new text, and the text of the export before.
    "models.config": (_models_config(list(latest)), _models_config(others)),
    "batching_parameters.txt": (batching, batching),
    "monitoring.config": (_MONITORING_CONFIG, _MONITORING_CONFIG),
  }
  kept = []
  for file, (text, before) in texts.items():
    path = export_dir / file
    if path.exists() and path.read_text() not in (text, before):
      kept.append(file)
    else:
      _write_text(path, text)
  _write_text(export_dir / "README.md", _page_text(latest, name))
  return kept


def _write_text(path: pathlib.Path, text: str) -> None:
  with files.replacing(path) as partial:  # A server may be reading the file.
    partial.write_text(text)


def _latest_manifests(export_dir: pathlib.Path) -> dict[str, manifests.Manifest]:
  """Reads the manifest of each model's latest version, by name; skips other folders."""
  latest = {}
  for model_base in sorted(path for path in export_dir.iterdir() if path.is_dir()):
    versions = manifests.version_numbers(model_base)
    if versions and (model_base / str(versions[-1]) / manifests.MANIFEST_FILE).is_file():
      latest[model_base.name] = manifests.read_manifest(model_base / str(versions[-1]))
  return latest


def _models_config(names: Sequence[str]) -> str:
  """Makes the text of a `tensorflow.serving.ModelServerConfig`."""
  configs = "".join(
    "  config {\n"
    f'    name: "{name}"\n'
    f'    base_path: "/models/{name}"\n'
    '    model_platform: "tensorflow"\n'
    "  }\n"
    for name in names
  )
  return f"model_config_list {{\n{configs}}}\n"


def _batching_parameters(allowed_batch_sizes: Sequence[int]) -> str:
  """Makes the text of a `tensorflow.serving.BatchingParameters`."""
  sizes = "".join(f"allowed_batch_sizes: {size}\n" for size in allowed_batch_sizes)
  return (
    "# A request of more images than this is refused: split it.\n"
    f"max_batch_size {{ value: {allowed_batch_sizes[-1]} }}\n"
    "# How long a request waits for others to share a batch, in microseconds.\n"
    "batch_timeout_micros { value: 1000 }\n"
    "max_enqueued_batches { value: 100 }\n"
    "# A batch is filled up to the next of these; the last must be max_batch_size.\n"
    f"{sizes}"
  )


def _page_text(latest: Mapping[str, manifests.Manifest], name: str) -> str:
  """Makes the text of README.md; the examples are about the named model."""
  model = latest[name].facts
  shape = model.image_shape
  facts = {"height": shape[0], "width": shape[1], "channels": shape[2], "name": name}
  facts["version"] = latest[name].version
  if isinstance(model, manifests.CaptionerFacts):
    facts |= _captioner_facts(model)
    curl, grpc_input = _template("captioner"), _template("captioner_grpc")
  else:
    facts |= {"try_key": "images", "try_shape": [1, *shape], "try_signature": "serving_default"}
    facts["pixels"] = f"[[[0.0] * {shape[2]}] * {shape[1]}] * {shape[0]}"
    has_files = "classify_bytes" in latest[name].contract
    facts["ask_files"] = _template("classifier_files").format(**facts) + "\n" if has_files else ""
    curl, grpc_input = _template("classifier"), _template("classifier_grpc")
  return _template("page").format(
    tables=_tables(latest),
    curl=curl.format(**facts),
    grpc_input=grpc_input.format(**facts),
    **facts,
  )


def _template(name: str) -> str:
  folder = importlib.resources.files("wsram_tf.export") / "templates"
  return (folder / f"{name}.md").read_text(encoding="utf-8").rstrip("\n") + "\n"


def _captioner_facts(model: manifests.CaptionerFacts) -> dict[str, object]:
  if model.feature_shape is None:
    return {
      "sizes": f"of {model.height} x {model.width} pixels (height x width)",
      "turned": "",
      "try_key": "images",
      "try_shape": [1, *model.image_shape],
      "try_signature": "caption_images",
      "try_meaning": f"`images` {[-1, *model.image_shape]}, float32 in 0..1",
    }
  return {
    "sizes": f"of any size up to {model.largest_pixels} pixels, which the model stretches to "
    f"{model.height} x {model.width}",
    "turned": "Photographs must be\nupright in the file: the model ignores the orientation that "
    "cameras record.",
    "try_key": "features",
    "try_shape": [1, *model.feature_shape],
    "try_signature": "caption_features",
    "try_meaning": f"`features` {[-1, *model.feature_shape]}, the backbone's output for an image",
  }


def _tables(latest: Mapping[str, manifests.Manifest]) -> str:
  rows = {_CLASSIFIERS: [], _CAPTIONERS: []}
  for manifest in latest.values():
    model = manifest.facts
    size = " x ".join(map(str, model.image_shape))
    start = f"| {model.name} | {manifest.version} | {size} | "
    if isinstance(model, manifests.CaptionerFacts):
      shown = {key: value for key, value in model.test_figures.items() if _is_score(key)}
      figures = ", ".join(f"{key} {value:.4g}" for key, value in shown.items()) or "not known"
      rows[_CAPTIONERS].append(
        f"{start}{model.vocabulary_size} | {model.num_glimpses} | {model.beam_width} | "
        f"{model.averaged_samples} | {figures} |"
      )
    else:
      error = model.test_error_percent
      known = "not known" if error is None else f"{error:.2f}%"
      rows[_CLASSIFIERS].append(f"{start}{model.num_classes} | {model.num_glimpses} | {known} |")
  return "\n\n".join(head + "\n".join(lines) for head, lines in rows.items() if lines)


def _is_score(figure: str) -> bool:
  return figure.startswith("bleu_") or figure in ("scenes_correct_percent", "rouge_l", "cider")
