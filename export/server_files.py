"""The files beside the models that a model server is started with, and the page that says how.

They lie in the folder that holds the models' folders. The paths in them are a container's
(/models), so that the folder can be moved; the commands say how to do without a container.
"""

import contextlib
import os
import pathlib
from collections.abc import Sequence

import manifests
import server_page

__all__ = ["write_server_files"]

_MONITORING_CONFIG = """\
prometheus_config {
  enable: true
  path: "/monitoring/prometheus/metrics"
}
"""


def write_server_files(export_dir: str | os.PathLike, name: str) -> list[str]:
  """Writes models.config, batching_parameters.txt, monitoring.config and README.md.

  A file that somebody changed by hand is left as it is.

  Args:
    export_dir: the folder of all models.
    name: the model that was exported last; the page's examples are about it.

  Returns:
    the names of the files left as they are although this export would have written something else.
  """
  export_dir = pathlib.Path(export_dir)
  latest = _latest_manifests(export_dir)
  others = [other for other in latest if other != name]
  batching = _batching_parameters(latest[name].allowed_batch_sizes)
  texts = {  # What to write, and what was written before this export.
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
  _write_text(export_dir / "README.md", server_page.page_text(latest, name))
  return kept


def _write_text(path: pathlib.Path, text: str) -> None:
  """Replaces a file at once: a server may be reading it."""
  staged = path.with_name(f".{path.name}.{os.getpid()}")
  try:
    staged.write_text(text)
    os.replace(staged, path)
  finally:
    with contextlib.suppress(FileNotFoundError):
      staged.unlink()


def _latest_manifests(export_dir: pathlib.Path) -> dict[str, manifests.Manifest]:
  """The manifest of each model's latest version, by name; folders of other kinds are passed by."""
  latest = {}
  for model_base in sorted(path for path in export_dir.iterdir() if path.is_dir()):
    versions = manifests.version_numbers(model_base)
    if versions and (model_base / str(versions[-1]) / manifests.MANIFEST_FILE).is_file():
      latest[model_base.name] = manifests.read_manifest(model_base / str(versions[-1]))
  return latest


def _models_config(names: Sequence[str]) -> str:
  """Text of a `tensorflow.serving.ModelServerConfig`."""
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
  """Text of a `tensorflow.serving.BatchingParameters`."""
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
