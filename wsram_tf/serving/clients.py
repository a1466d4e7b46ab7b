"""Clients of a running model server, over gRPC and REST, without TensorFlow.

gRPC carries the messages of protos.py, REST carries JSON.
"""

import base64
import json
import urllib.error
import urllib.request
from collections.abc import Sequence
from typing import Any

import grpc
import numpy as np

from wsram_tf.serving import examples, protos

__all__ = ["GrpcClient", "RestClient", "ServerError"]

_SERVICE = "/tensorflow.serving.PredictionService"


class ServerError(Exception):
  """The server cannot be reached or refuses a request; the message gives server and reason."""


class GrpcClient:
  """A model on a server's gRPC port.

  Args:
    address: host:port.
    name: of the model.
    timeout: for each request, seconds.
  """

  def __init__(self, address: str, name: str, timeout: float = 10.0):
    self._address, self._name, self._timeout = address, name, timeout
    self._channel = grpc.insecure_channel(address)

  def input_shapes(self) -> dict[str, dict[str, tuple[int, ...] | None]]:
    """Asks for the shape of each input by signature and input name.

    An open axis has the size -1; an input of any rank has None for its shape.

    Raises:
      ServerError: if the server does not answer.
    """
    request = protos.metadata_request(self._name)
    signatures = protos.read_metadata_response(self._call("GetModelMetadata", request))
    return {
      name: {key: info.shape for key, info in signature.inputs.items()}
      for name, signature in signatures.items()
    }

  def ask(self, signature: str, files: Sequence[bytes]) -> dict[str, np.ndarray]:
    """Asks for the outputs of a signature for the contents of PNG or JPEG files.

    Raises:
      ServerError: if the server does not answer or refuses the files.
    """
    tensor_protos = {"image_bytes": protos.tensor_proto(examples.as_bytes_array(files))}
    request = protos.predict_request(self._name, signature, tensor_protos)
    return protos.read_predict_response(self._call("Predict", request))

  def _call(self, method: str, request: bytes) -> bytes:
    try:
      # Without serializers, requests and responses are the bytes themselves.
      return self._channel.unary_unary(f"{_SERVICE}/{method}")(request, timeout=self._timeout)
    except grpc.RpcError as error:
      message = f"{error.code().name}: {error.details()}"
      raise ServerError(f"server={self._address!r}, name={self._name!r}: {message}") from error


class RestClient:
  """A model on a server's REST port.

  Args:
    address: host:port.
    name: of the model.
    timeout: for each request, seconds.
  """

  def __init__(self, address: str, name: str, timeout: float = 10.0):
    self._url = f"http://{address}/v1/models/{name}"
    self._timeout = timeout

  def input_shapes(self) -> dict[str, dict[str, tuple[int, ...] | None]]:
    """Asks for the shape of each input by signature and input name.

    An open axis has the size -1; an input of any rank has None for its shape.

    Raises:
      ServerError: if the server does not answer.
    """
    signatures = self._call("/metadata")["metadata"]["signature_def"]["signature_def"]
    return {
      name: {
        key: tuple(int(dim["size"]) for dim in info["tensor_shape"]["dim"])
        for key, info in signature["inputs"].items()
      }
      for name, signature in signatures.items()
      if "inputs" in signature
    }

  def ask(self, signature: str, files: Sequence[bytes]) -> dict[str, np.ndarray]:
    """Asks for the outputs of a signature for the contents of PNG or JPEG files.

    Raises:
      ServerError: if the server does not answer or refuses the files.
    """
    values = [{"b64": base64.b64encode(contents).decode()} for contents in files]
    request = {"signature_name": signature, "inputs": {"image_bytes": values}}
    outputs = self._call(":predict", request)["outputs"]
    return {name: np.array(values) for name, values in outputs.items()}

  def _call(self, path: str, request: dict[str, Any] | None = None) -> dict[str, Any]:
    data = None if request is None else json.dumps(request).encode()
    try:
      with urllib.request.urlopen(self._url + path, data, self._timeout) as response:
        return json.load(response)
    except urllib.error.HTTPError as error:
      raise ServerError(f"{self._url}: {error.code}: {error.read().decode()}") from error
    except (OSError, json.JSONDecodeError) as error:
      raise ServerError(f"{self._url}: no model server answers there: {error}") from error
