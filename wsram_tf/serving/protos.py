"""Converts signatures, tensors, requests and responses to and from protocol messages.

The tests compare every function with the message classes of TensorFlow and of its serving API.
"""

import dataclasses
import functools
import os
import struct
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
from google.protobuf import json_format

from wsram_tf.serving import messages

__all__ = [
  "Exchange",
  "Signature",
  "TensorInfo",
  "array_dtype",
  "dtype_name",
  "dtype_number",
  "meta_graph_signatures",
  "metadata_request",
  "predict_request",
  "prediction_log",
  "read_metadata_response",
  "read_predict_response",
  "read_prediction_log",
  "read_records",
  "read_tensor_proto",
  "saved_model_signatures",
  "session_config",
  "signatures_of_json",
  "tensor_proto",
]

# By dtype: its number in tensorflow.DataType, and the field that holds a tensor's values.
_DTYPES = {
  "float32": (1, "float_val"),
  "float64": (2, "double_val"),
  "int32": (3, "int_val"),
  "uint8": (4, "int_val"),
  "string": (7, "string_val"),
  "int64": (9, "int64_val"),
  "bool": (10, "bool_val"),
}
_DTYPE_NAMES = {number: name for name, (number, _) in _DTYPES.items()}


@dataclasses.dataclass(frozen=True)
class TensorInfo:
  """One input or output of a signature.

  Args:
    tensor: its name in the graph, `operation:index`; clients never see it.
    dtype: name of a NumPy dtype, or "string".
    shape: sizes, -1 for an open axis; None where the rank is open too.
  """

  tensor: str
  dtype: str
  shape: tuple[int, ...] | None

  @property
  def row_shape(self) -> tuple[int, ...]:
    """Sizes after the first axis, the batch.

    Raises:
      ValueError: if the rank is open.
    """
    if self.shape is None:
      raise ValueError(f"{self.tensor}: must have a shape, not an open rank")
    return self.shape[1:]

  def __str__(self) -> str:
    return f"{self.dtype} {'of any rank' if self.shape is None else list(self.shape)}"


@dataclasses.dataclass(frozen=True)
class Signature:
  """A `tensorflow.SignatureDef`: its inputs and outputs by name."""

  inputs: Mapping[str, TensorInfo]
  outputs: Mapping[str, TensorInfo]


class Exchange(NamedTuple):
  """A request and its response.

  Attributes:
    outputs: arrays by name.
    bytes_sent: of the request's message; where the model runs in this process, of its tensors.
    bytes_received: of the response's message or tensors.
  """

  outputs: dict[str, np.ndarray]
  bytes_sent: int
  bytes_received: int


def dtype_number(dtype: str) -> int:
  """Returns the `tensorflow.DataType` of a dtype's name."""
  if dtype not in _DTYPES:
    raise ValueError(f"dtype={dtype!r}: must be one of {', '.join(_DTYPES)}")
  return _DTYPES[dtype][0]


def dtype_name(number: int) -> str:
  """Returns the dtype's name of a `tensorflow.DataType`."""
  if number not in _DTYPE_NAMES:
    raise ValueError(f"number={number}: must be the DataType of {', '.join(_DTYPES)}")
  return _DTYPE_NAMES[number]


def array_dtype(array: np.ndarray) -> str:
  """Returns the dtype's name of an array; objects stand for byte strings."""
  return _array_dtype(array.dtype)


@functools.cache  # NumPy takes two microseconds for the name.
def _array_dtype(dtype: np.dtype) -> str:
  return "string" if dtype.kind == "O" else dtype.name


def _parse(kind: type[messages.Message], contents: bytes) -> messages.Message:
  try:
    return kind.FromString(contents)
  except messages.DecodeError as error:
    name = kind.DESCRIPTOR.name
    raise ValueError(f"contents: must be a whole message of type {name}") from error


def _read_shape(shape: messages.Message) -> tuple[int, ...] | None:
  return None if shape.unknown_rank else tuple(dim.size for dim in shape.dim)


def _read_signatures(signature_defs: Mapping[str, messages.Message]) -> dict[str, Signature]:
  def read(infos: Mapping[str, messages.Message]) -> dict[str, TensorInfo]:
    return {
      name: TensorInfo(info.name, dtype_name(info.dtype), _read_shape(info.tensor_shape))
      for name, info in sorted(infos.items())
    }

  return {
    name: Signature(read(signature.inputs), read(signature.outputs))
    for name, signature in sorted(signature_defs.items())
    if not name.startswith("__saved_model")  # The initialiser, which no client may call.
  }


def meta_graph_signatures(meta_graph: bytes) -> dict[str, Signature]:
  """Reads the signatures of a `tensorflow.MetaGraphDef`."""
  return _read_signatures(_parse(messages.MetaGraphDef, meta_graph).signature_def)


def saved_model_signatures(saved_model: bytes) -> dict[str, Signature]:
  """Reads the signatures of a `tensorflow.SavedModel` (saved_model.pb) under the tag `serve`.

  Raises:
    ValueError: if no graph has the tag.
  """
  for meta_graph in _parse(messages.SavedModel, saved_model).meta_graphs:
    if "serve" in meta_graph.meta_info_def.tags:
      return _read_signatures(meta_graph.signature_def)
  raise ValueError("saved_model: must hold a graph tagged 'serve', which servers load")


def signatures_of_json(signatures: Mapping[str, Any]) -> dict[str, Signature]:
  """Reads `tensorflow.SignatureDef`s by name from JSON, as a server's REST port answers them.

  Raises:
    ValueError: if they are none.
  """
  read = messages.SignatureDefMap()
  try:
    json_format.ParseDict({"signature_def": signatures}, read, ignore_unknown_fields=True)
  except json_format.ParseError as error:
    raise ValueError(f"signatures: must be those of a model: {error}") from error
  return _read_signatures(read.signature_def)


def session_config(threads: int) -> bytes:
  """Makes a `tensorflow.ConfigProto` for the processor alone, as in a CPU server.

  Args:
    threads: within and between operations; 0 leaves the choice to TensorFlow, 1 runs all
      operations in the caller's thread.
  """
  config = messages.ConfigProto(
    device_count={"GPU": 0},
    intra_op_parallelism_threads=threads,
    inter_op_parallelism_threads=-1 if threads == 1 else threads,
  )
  return config.SerializeToString()


def tensor_proto(array: np.ndarray, shape: Iterable[int] | None = None) -> messages.Message:
  """Makes a `tensorflow.TensorProto`.

  Args:
    array: the values; byte strings as objects.
    shape: the tensor's shape where it is larger than the array. By the format's rule the last
      value then fills the rest, which keeps a warm-up request of many images small.
  """
  dtype = array_dtype(array)
  proto = messages.TensorProto(dtype=dtype_number(dtype))
  for size in array.shape if shape is None else shape:
    proto.tensor_shape.dim.add(size=size)
  if dtype == "string" or shape is not None:
    getattr(proto, _DTYPES[dtype][1]).extend(array.ravel().tolist())
  else:
    proto.tensor_content = array.astype(array.dtype.newbyteorder("<")).tobytes()
  return proto


def read_tensor_proto(proto: messages.Message) -> np.ndarray:
  """Reads the array of a `tensorflow.TensorProto`, whichever of its fields holds the values.

  Raises:
    ValueError: if the rank is open, or the values do not fit the shape.
  """
  dtype = dtype_name(proto.dtype)
  shape = _read_shape(proto.tensor_shape)
  if shape is None:
    raise ValueError("proto: must have a shape, not an open rank")
  if proto.tensor_content:
    content = np.frombuffer(proto.tensor_content, np.dtype(dtype).newbyteorder("<"))
    values = content.astype(dtype)
  else:
    listed = list(getattr(proto, _DTYPES[dtype][1]))
    values = np.empty(len(listed), object if dtype == "string" else dtype)
    values[:] = listed
  size = int(np.prod(shape, dtype=np.int64))
  if 0 < len(values) < size:
    values = np.concatenate([values, np.repeat(values[-1:], size - len(values))])
  if len(values) != size:
    raise ValueError(f"proto: must hold {size} values, as its shape {shape}; got {len(values)}")
  return values.reshape(shape)


def _read_tensor_protos(protos: Mapping[str, messages.Message]) -> dict[str, np.ndarray]:
  return {name: read_tensor_proto(proto) for name, proto in protos.items()}


def predict_request(model: str, signature: str, inputs: Mapping[str, messages.Message]) -> bytes:
  """Makes a `tensorflow.serving.PredictRequest` to the latest version of a model.

  Args:
    model: its name on the server.
    signature: its name.
    inputs: a tensor for each input.
  """
  spec = {"name": model, "signature_name": signature}
  return messages.PredictRequest(model_spec=spec, inputs=inputs).SerializeToString()


def read_predict_response(response: bytes) -> dict[str, np.ndarray]:
  """Reads the outputs of a `tensorflow.serving.PredictResponse`."""
  return _read_tensor_protos(_parse(messages.PredictResponse, response).outputs)


def prediction_log(request: bytes) -> bytes:
  """Makes a `tensorflow.serving.PredictionLog` of one request, a record of a warm-up file."""
  log = messages.PredictionLog()
  log.predict_log.request.MergeFromString(request)
  return log.SerializeToString()


def read_prediction_log(log: bytes) -> tuple[str, str, dict[str, np.ndarray]]:
  """Reads the request in a log: the names of its model and signature, and its inputs."""
  request = _parse(messages.PredictionLog, log).predict_log.request
  spec = request.model_spec
  return spec.name, spec.signature_name, _read_tensor_protos(request.inputs)


def metadata_request(model: str) -> bytes:
  """Makes a `tensorflow.serving.GetModelMetadataRequest` for the latest version's signatures."""
  request = messages.GetModelMetadataRequest(
    model_spec={"name": model}, metadata_field=["signature_def"]
  )
  return request.SerializeToString()


def read_metadata_response(response: bytes) -> dict[str, Signature]:
  """Reads the signatures of a `tensorflow.serving.GetModelMetadataResponse`."""
  packed = _parse(messages.GetModelMetadataResponse, response).metadata["signature_def"].value
  return _read_signatures(_parse(messages.SignatureDefMap, packed).signature_def)


def read_records(path: str | os.PathLike) -> list[bytes]:
  """Reads the records of a TFRecord file.

  Raises:
    ValueError: if the file ends within a record.
  """
  with open(path, "rb") as file:
    data = file.read()
  records, position = [], 0
  while position < len(data):
    header = data[position : position + 12]  # The length, 8 bytes, and its checksum.
    length = struct.unpack("<Q", header[:8])[0] if len(header) == 12 else 0
    records.append(data[position + 12 : position + 12 + length])
    position += 16 + length  # The record's own checksum follows it.
    if len(header) < 12 or position > len(data):
      raise ValueError(f"path={str(path)!r}: must hold whole records; the last one is cut off")
  return records
