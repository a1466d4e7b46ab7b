"""Writes versions of a model for TensorFlow Serving: complete, verified and recorded.

A server polls the model's folder, so an incomplete version has a name that servers ignore. Version
numbers only grow, and no export overwrites a version.
"""

import contextlib
import os
import pathlib
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping

import numpy as np
import tensorflow as tf

from wsram_tf import files
from wsram_tf.export import warmup
from wsram_tf.serving import examples, manifests, protos

__all__ = ["Signatures", "write_version"]

_LOCK = ".lock"
_STAGING_PREFIX = ".staging-"
_EXAMPLE_FILE = "assets.extra/example.png"

Signatures = Mapping[str, tf.types.experimental.ConcreteFunction]


def write_version(
  export_dir: str | os.PathLike,
  module: tf.Module,
  signatures: Signatures,
  facts: manifests.Facts,
  verify: Callable[[pathlib.Path], None] | None = None,
) -> pathlib.Path:
  """Writes the next version of a model.

  Args:
    export_dir: the folder of all models; created if it does not exist.
    module: holds the variables that the signatures read.
    signatures: by name, with named inputs and outputs.
    facts: about the model.
    verify: called with the folder of the complete version before its publication, which it prevents
      by raising an error.

  Returns:
    the version's folder, EXPORT_DIR/NAME/VERSION.

  Raises:
    ValueError: if the name breaks its rule, or the contract differs from the latest version's.
  """
  manifests.check_name(facts.name)
  manifests.check_batch_sizes(facts.allowed_batch_sizes)
  model_base = pathlib.Path(export_dir) / facts.name
  with _locked(model_base), _staging(model_base) as staging:
    recorded = manifests.read_versions(model_base)
    numbers = manifests.version_numbers(model_base)
    # A number is never used again, even if its version was deleted.
    version = max([0, *numbers, *recorded]) + 1
    model_dir = staging / str(version)
    tf.saved_model.save(
      module,
      os.fspath(model_dir),
      signatures=dict(signatures),
      options=tf.saved_model.SaveOptions(experimental_custom_gradients=False),
    )
    saved = protos.saved_model_signatures((model_dir / "saved_model.pb").read_bytes())
    contract = manifests.contract_of(saved)
    _check_contract(facts.name, contract, model_base, numbers)
    _write_extras(model_dir, facts, signatures, saved)
    manifest = manifests.Manifest(
      facts=facts,
      version=version,
      weight_bytes=_weight_bytes(signatures),
      contract=contract,
      files=manifests.file_digests(model_dir),
    )
    manifests.write_json(model_dir / manifests.MANIFEST_FILE, manifests.manifest_values(manifest))
    recorded[version] = manifests.manifest_digest(model_dir)
    manifests.write_json(staging / manifests.VERSIONS_FILE, recorded)
    if verify:
      verify(model_dir)
    # The record first: a crash in between loses a number and nothing else.
    os.replace(staging / manifests.VERSIONS_FILE, model_base / manifests.VERSIONS_FILE)
    os.rename(model_dir, model_base / str(version))
  return model_base / str(version)


@contextlib.contextmanager
def _locked(model_base: pathlib.Path) -> Iterator[None]:
  """Keeps other exports out of a model's folder; removes created folders that stay empty."""
  made = [folder for folder in (model_base, *model_base.parents) if not folder.exists()]
  model_base.mkdir(parents=True, exist_ok=True)
  try:
    with files.lock(model_base / _LOCK, wait=True):
      try:
        yield
      finally:
        # Waiting exports notice that the file is gone and make another.
        (model_base / _LOCK).unlink(missing_ok=True)
  finally:
    with contextlib.suppress(OSError):  # Folders with content stay.
      for folder in made:
        folder.rmdir()


@contextlib.contextmanager
def _staging(model_base: pathlib.Path) -> Iterator[pathlib.Path]:
  for stale in model_base.glob(_STAGING_PREFIX + "*"):
    shutil.rmtree(stale)  # A killed export left it: the lock keeps running ones out.
  staging = pathlib.Path(tempfile.mkdtemp(prefix=_STAGING_PREFIX, dir=model_base))
  try:
    yield staging
  finally:
    shutil.rmtree(staging)


def _weight_bytes(signatures: Signatures) -> int:
  """Counts the bytes of all variables that the signatures read, each once."""
  variables = {
    id(variable): variable
    for function in signatures.values()
    for variable in function.graph.variables
  }
  return sum(v.dtype.size * v.shape.num_elements() for v in variables.values())


def _check_contract(
  name: str, contract: manifests.Contract, model_base: pathlib.Path, numbers: list[int]
) -> None:
  graphs = [(number, model_base / str(number) / "saved_model.pb") for number in numbers]
  graphs = [(number, path) for number, path in graphs if path.is_file()]
  if not graphs:
    return
  latest, path = graphs[-1]
  previous = manifests.contract_of(protos.saved_model_signatures(path.read_bytes()))
  changes = manifests.contract_breaks(previous, contract)
  if changes:
    raise ValueError(
      f"name={name!r}: a new version must keep the contract that clients of version {latest} rely "
      "on, so export under another name; it would change:\n  " + "\n  ".join(changes)
    )


def _write_extras(
  model_dir: pathlib.Path,
  facts: manifests.Facts,
  signatures: Signatures,
  saved: Mapping[str, protos.Signature],
) -> None:
  """Writes the warm-up requests, an example image, and the answers that verification compares."""
  (model_dir / "assets.extra").mkdir()
  warmup.write_warmup(
    model_dir / manifests.WARMUP_FILE,
    facts.name,
    saved,
    facts.image_shape,
    facts.allowed_batch_sizes,
  )
  images = examples.example_images(*facts.image_shape)
  jpeg = None
  if any("image_bytes" in signature.inputs for signature in saved.values()):
    jpeg = tf.io.encode_jpeg(images[0]).numpy()
    (model_dir / _EXAMPLE_FILE).write_bytes(examples.png_bytes(images[0]))
  requests = examples.example_requests(saved, facts, images, jpeg)
  golden = {
    f"{name}/{key}": examples.storable(output.numpy())
    for name, inputs in requests.items()
    for key, output in signatures[name](**{k: tf.constant(v) for k, v in inputs.items()}).items()
  }
  if jpeg is not None:
    golden["jpeg"] = np.frombuffer(jpeg, np.uint8)
  np.savez_compressed(model_dir / manifests.GOLDEN_FILE, **golden)
