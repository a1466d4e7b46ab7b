"""Clients of a running model server, over gRPC and REST, without TensorFlow.

gRPC carries the messages of protos.py, REST carries JSON.
"""

import abc
import base64
import contextlib
import functools
import http
import json
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import grpc
import numpy as np

from wsram_tf.serving import examples, protos
from wsram_tf.settings import check_instance

__all__ = ["GrpcClient", "RequestRefusedError", "RestClient", "ServerError"]

_SERVICE = "/tensorflow.serving.PredictionService"


class ServerError(Exception):
  """The server cannot be reached or refuses a request; the message gives server and reason."""


class RequestRefusedError(ServerError):
  """The server refuses the inputs of a request; another request may succeed."""


class _Client(abc.ABC):
  """A model on a server."""

  @property
  def signatures(self) -> dict[str, protos.Signature]:
    """The model's signatures by name, as the server first reports them.

    Raises:
      ServerError: if the server does not answer.
    """
    return self._first_signatures

  @functools.cached_property
  def _first_signatures(self) -> dict[str, protos.Signature]:
    return self._read_signatures()

  def input_shapes(self) -> dict[str, dict[str, tuple[int, ...] | None]]:
    """Asks for the shape of each input by signature and input name.

    An open axis has the size -1; an input of any rank has None for its shape.

    Raises:
      ServerError: if the server does not answer.
    """
    return {
      name: {key: info.shape for key, info in signature.inputs.items()}
      for name, signature in self._read_signatures().items()
    }

  def ask(self, signature: str, files: Sequence[bytes]) -> dict[str, np.ndarray]:
    """Asks for the outputs of a signature for the contents of PNG or JPEG files.

    Raises:
      ServerError: if the server does not answer or refuses the files.
    """
    return self.exchange(signature, {"image_bytes": examples.as_bytes_array(files)}).outputs

  @abc.abstractmethod
  def exchange(self, signature: str, inputs: Mapping[str, np.ndarray]) -> protos.Exchange:
    """Asks for the outputs of a signature, and counts the bytes of both messages.

    Args:
      signature: its name.
      inputs: an array for each input; byte strings as an array of objects.

    Raises:
      ServerError: if the server does not answer or refuses the inputs.
    """

  @contextlib.contextmanager
  def _reading(self) -> Iterator[None]:
    """Raises what is wrong with a response as an error of the server."""
    try:
      yield
    except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError) as error:
      raise ServerError(f"{self._where}: no model server answers there: {error!r}") from error
    except ValueError as error:  # No JSON, no UTF-8, or no tensor.
      raise ServerError(f"{self._where}: no model server answers there: {error}") from error

  @property
  @abc.abstractmethod
  def _where(self) -> str:
    """The server, for messages."""

  @abc.abstractmethod
  def _read_signatures(self) -> dict[str, protos.Signature]:
    """Asks the server for the signatures."""


class GrpcClient(_Client):
  """A model on a server's gRPC port.

  Args:
    address: host:port.
    name: of the model.
    timeout: for each request, seconds.
  """

  def __init__(self, address: str, name: str, timeout: float = 10.0):
    check_instance("address", address, str)
    check_instance("name", name, str)
    self._address, self._name, self._timeout = address, name, timeout
    self._channel = grpc.insecure_channel(address)

  def exchange(self, signature: str, inputs: Mapping[str, np.ndarray]) -> protos.Exchange:
    """Asks for the outputs of a signature; see `GlimpseModel`.

    Raises:
      ServerError: if the server does not answer or refuses the inputs.
    """
    tensor_protos = {key: protos.tensor_proto(array) for key, array in inputs.items()}
    request = protos.predict_request(self._name, signature, tensor_protos)
    response = self._call("Predict", request)
    with self._reading():
      outputs = protos.read_predict_response(response)
    return protos.Exchange(outputs, len(request), len(response))

  def _read_signatures(self) -> dict[str, protos.Signature]:
    response = self._call("GetModelMetadata", protos.metadata_request(self._name))
    with self._reading():
      return protos.read_metadata_response(response)

  @property
  def _where(self) -> str:
    return f"server={self._address!r}, name={self._name!r}"

  def _call(self, method: str, request: bytes) -> bytes:
    try:
      # Without serializers, requests and responses are the bytes themselves.
      return self._channel.unary_unary(f"{_SERVICE}/{method}")(request, timeout=self._timeout)
    except grpc.RpcError as error:
      message = f"{error.code().name}: {error.details()}"
      refused = error.code() == grpc.StatusCode.INVALID_ARGUMENT
      raise (RequestRefusedError if refused else ServerError)(
        f"{self._where}: {message}"
      ) from error


class RestClient(_Client):
  """A model on a server's REST port.

  Args:
    address: host:port.
    name: of the model.
    timeout: for each request, seconds.
  """

  def __init__(self, address: str, name: str, timeout: float = 10.0):
    check_instance("address", address, str)
    check_instance("name", name, str)
    self._url = f"http://{address}/v1/models/{name}"
    self._timeout = timeout

  def exchange(self, signature: str, inputs: Mapping[str, np.ndarray]) -> protos.Exchange:
    """Asks for the outputs of a signature; see `GlimpseModel`. JSON carries no dtypes.

    Raises:
      ServerError: if the server does not answer or refuses the inputs.
    """
    values = {key: _json_values(array) for key, array in inputs.items()}
    request = json.dumps({"signature_name": signature, "inputs": values}).encode()
    response = self._call(":predict", request)
    with self._reading():
      outputs = json.loads(response)["outputs"]
      arrays = {name: np.array(values) for name, values in outputs.items()}
    return protos.Exchange(arrays, len(request), len(response))

  def _read_signatures(self) -> dict[str, protos.Signature]:
    response = self._call("/metadata")
    with self._reading():
      metadata = json.loads(response)["metadata"]
      return protos.signatures_of_json(metadata["signature_def"]["signature_def"])

  @property
  def _where(self) -> str:
    return self._url

  def _call(self, path: str, request: bytes | None = None) -> bytes:
    try:
      with urllib.request.urlopen(self._url + path, request, self._timeout) as response:
        return response.read()
    except urllib.error.HTTPError as error:
      refused = error.code == http.HTTPStatus.BAD_REQUEST
      raise (RequestRefusedError if refused else ServerError)(
        f"{self._url}: {error.code}: {error.read().decode()}"
      ) from error
    except OSError as error:
      raise ServerError(f"{self._url}: no model server answers there: {error}") from error


def _json_values(array: np.ndarray) -> list[Any]:
  """Lists an array's values as JSON carries them."""
  if protos.array_dtype(array) == "string":
    return [{"b64": base64.b64encode(contents).decode()} for contents in array]
  if array.dtype == np.float32:
    # The shortest decimals that name each number: as doubles they would have twice the digits.
    array = array.astype(str).astype(np.float64)
  return array.tolist()
