"""Model files as an attacker makes them: a harmless one, of which one part is replaced."""

import base64
import copy
import functools
import io
import json
import marshal
import pathlib
import tempfile
import zipfile
from collections.abc import Callable
from typing import Any

import h5py
import keras
import numpy as np

__all__ = ["CONFIG", "WEIGHTS", "configs", "harmless", "weights", "write", "zipped"]

CONFIG, WEIGHTS = "config.json", "model.weights.h5"


@functools.cache
def harmless() -> dict[str, bytes]:
  """The parts of a small network, by name."""
  network = keras.Sequential([keras.Input([2]), keras.layers.Dense(1, name="only")])
  with tempfile.TemporaryDirectory() as folder:
    path = pathlib.Path(folder, "model.keras")
    network.save(path)
    with zipfile.ZipFile(path) as archive:
      return {name: archive.read(name) for name in archive.namelist()}


def zipped(parts: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
  """Makes an archive of parts."""
  file = io.BytesIO()
  with zipfile.ZipFile(file, "w", compression) as archive:
    for name, contents in parts.items():
      archive.writestr(name, contents)
  return file.getvalue()


def write(path: pathlib.Path, **replaced: bytes) -> pathlib.Path:
  """Writes a `.keras` file with other parts, `config` or `weights`."""
  names = {"config": CONFIG, "weights": WEIGHTS}
  path.write_bytes(zipped(harmless() | {names[key]: part for key, part in replaced.items()}))
  return path


def configs(canary: pathlib.Path) -> dict[str, bytes]:
  """Configurations that run code or read files, by a part of the message that refuses them.

  Args:
    canary: a file that the code would write.
  """
  code = compile(f"lambda x: open({str(canary)!r}, 'w')", "attack", "eval").co_consts[0]
  marshalled = base64.b64encode(marshal.dumps(code)).decode()
  unsafe = {"module": "keras.config", "config": "enable_unsafe_deserialization"}
  return {
    # CVE-2024-3660: code in a lambda layer.
    "class_name='Lambda'": _with_layer(
      "Lambda", {"function": {"class_name": "__lambda__", "config": {"code": marshalled}}}
    ),
    "__lambda__": _with_layer(
      "Dense",
      {"units": 1, "activation": {"class_name": "__lambda__", "config": {"code": marshalled}}},
    ),
    # CVE-2025-1550: any function of any module.
    "system of module 'os'": _with_activation({"module": "os", "config": "system"}),
    "Popen of module 'subprocess'": _with_layer("Popen", {"args": "id"}, module="subprocess"),
    # CVE-2025-8747, CVE-2025-9906: functions of Keras that turn its check off, or write files.
    "enable_unsafe_deserialization of module 'keras.config'": _with_activation(unsafe),
    "get_file of module 'keras.utils'": _with_activation(
      {"module": "keras.utils", "config": "get_file"}
    ),
    "load_data of module 'keras.datasets.mnist'": _with_activation(
      {"module": "keras.datasets.mnist", "config": "load_data"}
    ),
    "ResNet50 of module 'keras.applications'": _with_activation(
      {"module": "keras.applications", "config": "ResNet50"}
    ),
    "load_model of module 'keras.models'": _with_activation(
      {"module": "keras.models", "config": "load_model"}
    ),
    # Functions under the name of a class, and classes of other packages.
    "clone_model of module 'keras.models'": _with_layer("clone_model", {}, module="keras.models"),
    "eval of module 'builtins'": _with_layer("eval", {}, module="builtins"),
    "WeightsOnly of module 'keras_hub.layers'": _with_layer(
      "WeightsOnly", {}, module="keras_hub.layers"
    ),
    "Dense of module None": _with_layer("Dense", {"units": 1}, module=None),
    # A registered name covers no other class.
    "class_name='TFSMLayer'": _with_layer(
      "TFSMLayer", {"filepath": "/nowhere"}, registered_name="wsram_tf>Classifier"
    ),
    "class_name='TorchModuleWrapper'": _with_layer("TorchModuleWrapper", {"module": "gASVAA=="}),
    # CVE-2025-12058: the words of a file.
    "vocabulary='/etc/passwd'": _with_layer("StringLookup", {"vocabulary": "/etc/passwd"}),
    "vocabulary='gs://bucket/words'": _with_layer(
      "TextVectorization", {"vocabulary": "gs://bucket/words"}
    ),
    "class_name=['Dense']": _with_layer(["Dense"], {}),
    "maximum recursion depth": b'{"a":' * 100_000,
    "Expecting property name": b"{",
  }


def weights() -> dict[str, tuple[bytes, str]]:
  """Files of weights that read other files or unpack to more, each with words of its refusal."""
  place = "layers/dense/vars"  # Where Keras reads the kernel, the array 0.

  def external_link(file: h5py.File) -> None:
    file[f"{place}/0"] = h5py.ExternalLink("/etc/passwd", "/x")

  def soft_link(file: h5py.File) -> None:
    file[f"{place}/0"] = h5py.SoftLink("/elsewhere")

  def external_storage(file: h5py.File) -> None:  # CVE-2026-1669
    file.create_dataset(
      f"{place}/0", (2, 1), "float32", external=[("/etc/passwd", 0, h5py.h5f.UNLIMITED)]
    )

  def virtual(file: h5py.File) -> None:
    layout = h5py.VirtualLayout((2, 1), "float32")
    layout[:] = h5py.VirtualSource("/etc/hostname", "x", (2, 1))
    file.create_virtual_dataset(f"{place}/0", layout)

  def bomb(file: h5py.File) -> None:
    file.create_dataset(f"{place}/0", (1 << 20, 1 << 20), "float32", compression="gzip")

  def unwritten(file: h5py.File) -> None:
    file.create_dataset(f"{place}/0", (1 << 40,), "float32")

  def objects(file: h5py.File) -> None:
    file.create_dataset(f"{place}/0", data="text", dtype=h5py.string_dtype())

  def a_type(file: h5py.File) -> None:
    file[f"{place}/0"] = np.dtype("float32")

  def in_itself(file: h5py.File) -> None:  # Harmless: a check must end.
    file["layers/again"] = file["layers"]
    file["layers/link"] = h5py.SoftLink("/")

  stored = "vars/0: must be stored in the file as it is"
  return {
    "an external link": (_hdf5(external_link), "vars/0: must not be a link"),
    "a soft link": (_hdf5(soft_link), "vars/0: must not be a link"),
    "external storage": (_hdf5(external_storage), stored),
    "a virtual array": (_hdf5(virtual), stored),
    "an array that unpacks to 4 TiB": (_hdf5(bomb), stored),
    "an array that nobody wrote": (_hdf5(unwritten), stored),
    "objects": (_hdf5(objects), "vars/0: must hold numbers, not object"),
    "a type": (_hdf5(a_type), "vars/0: must be a group or an array"),
    "a group in itself": (_hdf5(in_itself), "layers/link: must not be a link"),
    "no HDF5": (b"weights", "must be a whole HDF5 file"),
    "half a file": (harmless()[WEIGHTS][:-500], "must be a whole HDF5 file"),
  }


def _hdf5(fill: Callable[[h5py.File], Any]) -> bytes:
  """The weights of the harmless network with another kernel."""
  contents = io.BytesIO(harmless()[WEIGHTS])
  with h5py.File(contents, "r+") as file:
    del file["layers/dense/vars/0"]
    fill(file)
  return contents.getvalue()


def _with_layer(name: Any, config: Any, module: Any = "keras.layers", **more: Any) -> bytes:
  """The configuration of the harmless network with another last layer."""
  whole = copy.deepcopy(json.loads(harmless()[CONFIG]))
  layer = {"module": module, "class_name": name, "config": config, "registered_name": None, **more}
  whole["config"]["layers"][-1] = layer
  return json.dumps(whole).encode()


def _with_activation(function: dict[str, str]) -> bytes:
  function = {"class_name": "function", "registered_name": function["config"], **function}
  return _with_layer("Dense", {"units": 1, "activation": function})
