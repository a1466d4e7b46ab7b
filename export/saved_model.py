"""Writes a version of a model for TensorFlow Serving: whole, checked and recorded, or not at all.

A server polls the model's folder, so a version is made under a name that it passes over and renamed
when it is complete. Versions only grow, and none is ever written over.
"""

import contextlib
import dataclasses
import fcntl
import os
import pathlib
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping

import examples
import manifests
import numpy as np
import protos
import tensorflow as tf
import warmup

__all__ = ["Signatures", "write_version"]

_STAGING_PREFIX = ".staging-"
_EXAMPLE_FILE = "assets.extra/example.png"

Signatures = Mapping[str, tf.types.experimental.ConcreteFunction]


def write_version(
  export_dir: str | os.PathLike,
  module: tf.Module,
  signatures: Signatures,
  draft: manifests.Manifest,
  verify: Callable[[pathlib.Path], None] | None = None,
) -> pathlib.Path:
  """Writes the next version of a model.

  Args:
    export_dir: the folder of all models; made where it does not exist.
    module: holds the variables that the signatures read.
    signatures: by name, with named inputs and outputs.
    draft: what is known beforehand. Its version, weight_bytes, contract and files are filled in.
    verify: called with the complete version before it is published; raises to prevent that.

  Returns:
    the version's folder, EXPORT_DIR/NAME/VERSION.

  Raises:
    ValueError: if the name is none, or the contract differs from the latest version's.
  """
  manifests.check_name(draft.name)
  model_base = pathlib.Path(export_dir) / draft.name
  with _locked(model_base), _staging(model_base) as staging:
    recorded = manifests.read_versions(model_base)
    numbers = manifests.version_numbers(model_base)
    # A number that was given out once is not used again, even if its version was deleted.
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
    _check_contract(draft.name, contract, model_base, numbers)
    _write_extras(model_dir, draft, signatures, saved)
    manifest = dataclasses.replace(
      draft,
      version=version,
      weight_bytes=_weight_bytes(signatures),
      contract=contract,
      files=manifests.file_digests(model_dir),
    )
    manifests.write_json(model_dir / manifests.MANIFEST_FILE, dataclasses.asdict(manifest))
    recorded[version] = manifests.manifest_digest(model_dir)
    manifests.write_json(staging / manifests.VERSIONS_FILE, recorded)
    if verify:
      verify(model_dir)
    # First the record: after a crash in between, a number is lost and nothing else.
    os.replace(staging / manifests.VERSIONS_FILE, model_base / manifests.VERSIONS_FILE)
    os.rename(model_dir, model_base / str(version))
  return model_base / str(version)


@contextlib.contextmanager
def _locked(model_base: pathlib.Path) -> Iterator[None]:
  """Holds a model's folder against other exports; folders made for this go again if left empty."""
  made = [folder for folder in (model_base, *model_base.parents) if not folder.exists()]
  model_base.mkdir(parents=True, exist_ok=True)
  descriptor = os.open(model_base, os.O_RDONLY)
  try:
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    yield
  finally:
    os.close(descriptor)
    with contextlib.suppress(OSError):  # A folder that holds something cannot be removed.
      for folder in made:
        folder.rmdir()


@contextlib.contextmanager
def _staging(model_base: pathlib.Path) -> Iterator[pathlib.Path]:
  for stale in model_base.glob(_STAGING_PREFIX + "*"):
    shutil.rmtree(stale)  # Of an export that was killed: with the lock held, none is at work.
  staging = pathlib.Path(tempfile.mkdtemp(prefix=_STAGING_PREFIX, dir=model_base))
  try:
    yield staging
  finally:
    shutil.rmtree(staging)


def _weight_bytes(signatures: Signatures) -> int:
  """Bytes of all variables that the signatures read, each once."""
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
  changes = manifests.contract_changes(previous, contract)
  if changes:
    raise ValueError(
      f"name={name!r}: a new version must keep the contract that clients of version {latest} rely "
      "on, so export under another name; it would change:\n  " + "\n  ".join(changes)
    )


def _write_extras(
  model_dir: pathlib.Path,
  draft: manifests.Manifest,
  signatures: Signatures,
  saved: Mapping[str, protos.Signature],
) -> None:
  """Writes what a server passes over: warm-up requests, an example, and answers to compare with."""
  (model_dir / "assets.extra").mkdir()
  warmup.write_warmup(
    model_dir / manifests.WARMUP_FILE,
    draft.name,
    saved,
    draft.image_shape,
    draft.allowed_batch_sizes,
  )
  images = examples.example_images(*draft.image_shape)
  jpeg = None
  if any("image_bytes" in signature.inputs for signature in saved.values()):
    jpeg = tf.io.encode_jpeg(images[0]).numpy()
    (model_dir / _EXAMPLE_FILE).write_bytes(examples.png_bytes(images[0]))
  requests = examples.example_requests(
    {name: signature.inputs for name, signature in saved.items()},
    images,
    jpeg,
    any_size=draft.largest_pixels is not None,
    feature_shape=draft.feature_shape,
  )
  golden = {
    f"{name}/{key}": examples.storable(output.numpy())
    for name, inputs in requests.items()
    for key, output in signatures[name](**{k: tf.constant(v) for k, v in inputs.items()}).items()
  }
  if jpeg is not None:
    golden["jpeg"] = np.frombuffer(jpeg, np.uint8)
  np.savez_compressed(model_dir / manifests.GOLDEN_FILE, **golden)
