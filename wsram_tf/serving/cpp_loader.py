"""Calls TensorFlow's C++ SavedModel loader through the C API, without TensorFlow's Python package.

Model servers call the same loader, `TF_LoadSessionFromSavedModel`. Python's `tf.saved_model.load`
differs: it restores objects, accepts exports that every server refuses, and runs XLA, which a stock
server lacks. All verification therefore goes through this loader.
"""

import ctypes
import functools
import importlib.util
import os
import pathlib
import sys
import threading
import weakref
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from wsram_tf.serving import protos
from wsram_tf.serving.quiet import quiet_tensorflow
from wsram_tf.serving.verification.operations import check_operations
from wsram_tf.settings import check_path

__all__ = ["LoadedModel", "ServingError"]

# tensorflow::DisableXlaCompilation(), which the C API does not offer.
_DISABLE_XLA = "_ZN10tensorflow21DisableXlaCompilationEv"
_STRING_BYTES = 24  # sizeof(TF_TString)
_CODES = (  # tensorflow::error::Code
  "OK",
  "CANCELLED",
  "UNKNOWN",
  "INVALID_ARGUMENT",
  "DEADLINE_EXCEEDED",
  "NOT_FOUND",
  "ALREADY_EXISTS",
  "PERMISSION_DENIED",
  "RESOURCE_EXHAUSTED",
  "FAILED_PRECONDITION",
  "ABORTED",
  "OUT_OF_RANGE",
  "UNIMPLEMENTED",
  "INTERNAL",
  "UNAVAILABLE",
  "DATA_LOSS",
  "UNAUTHENTICATED",
)
_POINTER = ctypes.c_void_p  # stands for every opaque pointer
_PROTOTYPES = {  # name: (result, arguments)
  "TF_NewStatus": (_POINTER, []),
  "TF_DeleteStatus": (None, [_POINTER]),
  "TF_GetCode": (ctypes.c_int, [_POINTER]),
  "TF_Message": (ctypes.c_char_p, [_POINTER]),
  "TF_NewBuffer": (_POINTER, []),
  "TF_DeleteBuffer": (None, [_POINTER]),
  "TF_NewGraph": (_POINTER, []),
  "TF_DeleteGraph": (None, [_POINTER]),
  "TF_GraphOperationByName": (_POINTER, [_POINTER, ctypes.c_char_p]),
  "TF_NewSessionOptions": (_POINTER, []),
  "TF_DeleteSessionOptions": (None, [_POINTER]),
  "TF_SetConfig": (None, [_POINTER, ctypes.c_char_p, ctypes.c_size_t, _POINTER]),
  # options, run options, folder, tags, their number, graph, meta graph, status
  "TF_LoadSessionFromSavedModel": (
    _POINTER,
    [_POINTER, _POINTER, ctypes.c_char_p, _POINTER, ctypes.c_int, _POINTER, _POINTER, _POINTER],
  ),
  # session, run options, (inputs, values, number), (outputs, values, number), (targets, number),
  # run metadata, status
  "TF_SessionRun": (
    None,
    [_POINTER] * 4
    + [ctypes.c_int, _POINTER, _POINTER]
    + [ctypes.c_int, _POINTER, ctypes.c_int, _POINTER, _POINTER],
  ),
  "TF_CloseSession": (None, [_POINTER, _POINTER]),
  "TF_DeleteSession": (None, [_POINTER, _POINTER]),
  "TF_AllocateTensor": (_POINTER, [ctypes.c_int, _POINTER, ctypes.c_int, ctypes.c_size_t]),
  "TF_DeleteTensor": (None, [_POINTER]),
  "TF_TensorType": (ctypes.c_int, [_POINTER]),
  "TF_NumDims": (ctypes.c_int, [_POINTER]),
  "TF_Dim": (ctypes.c_int64, [_POINTER, ctypes.c_int]),
  "TF_TensorByteSize": (ctypes.c_size_t, [_POINTER]),
  "TF_TensorData": (_POINTER, [_POINTER]),
  "TF_StringInit": (None, [_POINTER]),
  "TF_StringAssignView": (None, [_POINTER, ctypes.c_char_p, ctypes.c_size_t]),
  "TF_StringGetDataPointer": (_POINTER, [_POINTER]),
  "TF_StringGetSize": (ctypes.c_size_t, [_POINTER]),
}


class ServingError(Exception):
  """The C++ runtime refused a model or a request.

  Args:
    code: name of the canonical code that clients of a server see, for example "INVALID_ARGUMENT".
    message: the runtime's message.
  """

  def __init__(self, code: str, message: str):
    super().__init__(f"{code}: {message}")
    self.code = code
    self.message = message


class _Buffer(ctypes.Structure):
  _fields_ = [("data", _POINTER), ("length", ctypes.c_size_t), ("deallocator", _POINTER)]


class _Output(ctypes.Structure):
  _fields_ = [("operation", _POINTER), ("index", ctypes.c_int)]


class _Ends(NamedTuple):
  """Where the graph takes a signature's inputs and gives its outputs.

  Made once a model: in each call, ctypes would take several microseconds for it.
  """

  inputs: tuple[str, ...]
  sources: "ctypes.Array[_Output]"
  outputs: tuple[str, ...]
  targets: "ctypes.Array[_Output]"


@functools.cache
def _library() -> ctypes.CDLL:
  """Loads the C API of the installed TensorFlow.

  Switches XLA off, as in a stock CPU server, unless this process uses TensorFlow itself: its
  functions that XLA compiles would fail.
  """
  spec = importlib.util.find_spec("tensorflow")  # finds a top-level package without running it
  if spec is None or not spec.submodule_search_locations:
    raise FileNotFoundError(
      "tensorflow: must be installed, for the C++ libraries in its wheel; see setup.cfg"
    )
  folder = pathlib.Path(spec.submodule_search_locations[0])
  with quiet_tensorflow():
    for name in ("libtensorflow_framework.so.2", "libtensorflow_cc.so.2"):
      if not (folder / name).is_file():
        raise FileNotFoundError(
          f"{folder.name}/{name}: must be in TensorFlow's wheel, as it is in those for Linux"
        )
      # RTLD_LOCAL: the wheel's TLS library would otherwise replace the one that Python's ssl needs.
      library = ctypes.CDLL(str(folder / name), mode=ctypes.RTLD_LOCAL)
  for name, (result, arguments) in _PROTOTYPES.items():
    function = getattr(library, name)
    function.restype, function.argtypes = result, arguments
  if "tensorflow" not in sys.modules:
    getattr(library, _DISABLE_XLA)()  # Before any graph runs.
  return library


class _Status:
  """A TF_Status, raised as a ServingError at the end of the block that used it."""

  def __enter__(self) -> int:
    self._pointer = _library().TF_NewStatus()
    return self._pointer

  def __exit__(self, *_):
    library = _library()
    code = library.TF_GetCode(self._pointer)
    message = library.TF_Message(self._pointer).decode(errors="replace")
    library.TF_DeleteStatus(self._pointer)
    if code:
      raise ServingError(_CODES[code] if code < len(_CODES) else str(code), message)


def _new_tensor(array: np.ndarray) -> int:
  """Makes a TF_Tensor of an array. Strings are views: the array must outlive the tensor."""
  library, dtype = _library(), protos.array_dtype(array)
  if dtype == "string" and not all(type(value) is bytes for value in array.flat):
    raise ValueError("array: must hold numbers or, as objects, bytes")
  dims = (ctypes.c_int64 * array.ndim)(*array.shape)
  size = array.size * (_STRING_BYTES if dtype == "string" else array.itemsize)
  tensor = library.TF_AllocateTensor(protos.dtype_number(dtype), dims, array.ndim, size)
  data = library.TF_TensorData(tensor)
  if dtype == "string":
    for index, value in enumerate(array.flat):
      library.TF_StringInit(data + index * _STRING_BYTES)
      library.TF_StringAssignView(data + index * _STRING_BYTES, value, len(value))
  elif size:
    array = np.ascontiguousarray(array, None if array.dtype.isnative else dtype)
    ctypes.memmove(data, array.ctypes.data, size)
  return tensor


def _read_tensor(tensor: int) -> np.ndarray:
  library = _library()
  dtype = protos.dtype_name(library.TF_TensorType(tensor))
  shape = [library.TF_Dim(tensor, axis) for axis in range(library.TF_NumDims(tensor))]
  data = library.TF_TensorData(tensor)
  if dtype != "string":
    size = library.TF_TensorByteSize(tensor)
    return np.ndarray(shape, dtype, ctypes.string_at(data, size) if size else b"")
  values = np.empty(int(np.prod(shape, dtype=np.int64)), object)
  for index in range(len(values)):
    string = data + index * _STRING_BYTES
    values[index] = ctypes.string_at(
      library.TF_StringGetDataPointer(string), library.TF_StringGetSize(string)
    )
  return values.reshape(shape)


def _free(session: int | None, graph: int) -> None:
  """Frees a session, if there is one, and its graph."""
  library = _library()
  if session:
    with _Status() as status:
      library.TF_CloseSession(session, status)
    with _Status() as status:
      library.TF_DeleteSession(session, status)
  library.TF_DeleteGraph(graph)


class LoadedModel:
  """A SavedModel in a C++ session.

  XLA is off, as in a stock CPU server, unless the process has imported TensorFlow before. Several
  threads may ask one model at once.

  Args:
    model_dir: the folder that holds saved_model.pb.
    threads: threads within and between operations; 0 leaves the choice to TensorFlow, 1 runs all
      operations in the caller's thread. The first session of a process decides for all.

  Attributes:
    signatures: the model's signatures by name.

  Raises:
    FileNotFoundError: if TensorFlow's C++ libraries are not installed.
    ValueError: if its graph touches other files; see `verification.operations`.
    ServingError: if the loader refuses the export.
  """

  def __init__(self, model_dir: str | os.PathLike, threads: int = 0):
    check_path("model_dir", model_dir)
    check_operations(pathlib.Path(model_dir))
    self._library = library = _library()
    # Counts the requests that run, because a session must not be freed under them.
    self._requests, self._running, self._is_open = threading.Condition(), 0, True
    self._graph, self._session = library.TF_NewGraph(), None
    options, meta_graph = library.TF_NewSessionOptions(), library.TF_NewBuffer()
    config = protos.session_config(threads)
    tags = (ctypes.c_char_p * 1)(b"serve")
    try:
      with _Status() as status:
        library.TF_SetConfig(options, config, len(config), status)
      with _Status() as status:
        self._session = library.TF_LoadSessionFromSavedModel(
          options, None, os.fsencode(model_dir), tags, 1, self._graph, meta_graph, status
        )
      buffer = _Buffer.from_address(meta_graph)
      self.signatures = protos.meta_graph_signatures(ctypes.string_at(buffer.data, buffer.length))
      self._ends = {
        name: _Ends(
          tuple(signature.inputs),
          self._find_all(signature.inputs),
          tuple(signature.outputs),
          self._find_all(signature.outputs),
        )
        for name, signature in self.signatures.items()
      }
    except BaseException:
      _free(self._session, self._graph)
      raise
    finally:
      library.TF_DeleteSessionOptions(options)
      library.TF_DeleteBuffer(meta_graph)
    # Models that nobody closes are freed with their last reference.
    self._free = weakref.finalize(self, _free, self._session, self._graph)
    self._free.atexit = False

  def __enter__(self) -> "LoadedModel":
    return self

  def __exit__(self, *_):
    self.close()

  def close(self) -> None:
    """Frees the session and its memory, once the requests that run have their answers."""
    with self._requests:
      self._is_open = False
      self._requests.wait_for(lambda: not self._running)
    self._free()

  def _find_all(self, infos: Mapping[str, protos.TensorInfo]) -> "ctypes.Array[_Output]":
    return (_Output * len(infos))(*(self._find(info.tensor) for info in infos.values()))

  def _find(self, tensor: str) -> _Output:
    name, _, index = tensor.rpartition(":")
    operation = self._library.TF_GraphOperationByName(self._graph, name.encode())
    if not operation:
      raise ServingError("NOT_FOUND", f"{tensor}: a signature names it, but the graph lacks it")
    return _Output(operation, int(index))

  def exchange(self, signature: str, inputs: Mapping[str, np.ndarray]) -> protos.Exchange:
    """Answers one request as `run` does, and counts the bytes of its tensors."""
    outputs = self.run(signature, inputs)
    sent, received = (sum(one.nbytes for one in part.values()) for part in (inputs, outputs))
    return protos.Exchange(outputs, sent, received)

  def run(self, signature: str, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Answers one request.

    Args:
      signature: a name in `signatures`.
      inputs: an array for each input; byte strings as an array of objects.

    Returns:
      an array for each output, by name.

    Raises:
      ValueError: if the signature or the name of an input is unknown, an input is missing, or the
        model is closed.
      ServingError: if the runtime refuses the request.
    """
    with self._requests:
      if not self._is_open:
        raise ValueError("model: must be open; it has been closed")
      self._running += 1
    try:
      return self._run(signature, inputs)
    finally:
      with self._requests:
        self._running -= 1
        self._requests.notify_all()

  def _run(self, signature: str, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    if signature not in self.signatures:
      raise ValueError(f"signature={signature!r}: must be one of {', '.join(self.signatures)}")
    ends = self._ends[signature]
    if inputs.keys() != set(ends.inputs):
      raise ValueError(
        f"inputs={sorted(inputs)}: must be {sorted(ends.inputs)} for signature {signature!r}"
      )
    library = self._library
    fed, fetched = (_POINTER * len(ends.inputs))(), (_POINTER * len(ends.outputs))()
    feeds = ends.sources, fed, len(ends.inputs)
    fetches = ends.targets, fetched, len(ends.outputs)
    try:
      for index, name in enumerate(ends.inputs):
        fed[index] = _new_tensor(inputs[name])
      with _Status() as status:
        library.TF_SessionRun(self._session, None, *feeds, *fetches, None, 0, None, status)
      return dict(zip(ends.outputs, map(_read_tensor, fetched), strict=True))
    finally:
      for tensor in (*fed, *fetched):
        if tensor:
          library.TF_DeleteTensor(tensor)
