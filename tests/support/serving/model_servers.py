"""Stand-ins for tensorflow_model_server, which no package registry offers.

They speak its two protocols: over gRPC the service and messages of the serving API, over REST the
format on the page of TensorFlow Serving about its RESTful API. The C++ loader gives the answers.
tests/export/test_server_files.py asks the real server where there is one.
"""

import base64
import contextlib
import http.server
import importlib
import json
import threading
import unittest
from concurrent import futures

import grpc
import numpy as np
import tensorflow as tf
from google.protobuf import json_format
from tensorflow.core.protobuf import saved_model_pb2

from tests.support.serving import exports
from wsram_tf.serving import ServingError
from wsram_tf.serving.examples import as_bytes_array

__all__ = ["grpc_server", "rest_server"]


def signature_defs(model_dir):
  graph = (model_dir / "saved_model.pb").read_bytes()
  return saved_model_pb2.SavedModel.FromString(graph).meta_graphs[0].signature_def


@contextlib.contextmanager
def grpc_server():
  """Serves `exports.model_dir()` as the model digits; gives host:port."""
  cpp, model_dir = exports.cpp(), exports.model_dir()
  try:
    metadata_pb2 = importlib.import_module("tensorflow_serving.apis.get_model_metadata_pb2")
  except ImportError as error:
    raise unittest.SkipTest("pip install --no-deps tensorflow-serving-api") from error
  from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

  class Service(prediction_service_pb2_grpc.PredictionServiceServicer):
    def check_name(self, request, context):
      if request.model_spec.name != "digits":
        context.abort(grpc.StatusCode.NOT_FOUND, "Servable not found for request")

    def Predict(self, request, context):
      self.check_name(request, context)
      inputs = {name: tf.make_ndarray(proto) for name, proto in request.inputs.items()}
      try:
        outputs = cpp.run(model_dir, request.model_spec.signature_name, **inputs)
      except ServingError as error:
        context.abort(grpc.StatusCode[error.code], error.message)
      response = predict_pb2.PredictResponse()
      for name, output in outputs.items():
        # Values in the field of their type, as a server answers, not as packed bytes.
        proto = response.outputs[name]
        proto.dtype = tf.as_dtype(output.dtype).as_datatype_enum
        proto.tensor_shape.CopyFrom(tf.TensorShape(output.shape).as_proto())
        field = proto.float_val if output.dtype == np.float32 else proto.int64_val
        field.extend(output.ravel().tolist())
      return response

    def GetModelMetadata(self, request, context):
      self.check_name(request, context)
      assert list(request.metadata_field) == ["signature_def"]
      signatures = metadata_pb2.SignatureDefMap()
      for name, signature in signature_defs(model_dir).items():
        signatures.signature_def[name].CopyFrom(signature)
      response = metadata_pb2.GetModelMetadataResponse()
      response.metadata["signature_def"].Pack(signatures)
      return response

  server = grpc.server(futures.ThreadPoolExecutor(1))
  prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(Service(), server)
  port = server.add_insecure_port("localhost:0")
  server.start()
  try:
    yield f"localhost:{port}"
  finally:
    server.stop(0)


@contextlib.contextmanager
def rest_server():
  """Serves `exports.model_dir()` as the model digits; gives host:port."""
  cpp, model_dir = exports.cpp(), exports.model_dir()

  def read(info, values):
    dtype = tf.as_dtype(info.dtype)
    if dtype == tf.string:
      return as_bytes_array([base64.b64decode(value["b64"]) for value in values])
    return np.array(values, dtype.as_numpy_dtype)

  class Handler(http.server.BaseHTTPRequestHandler):
    def log_message(self, *_):
      pass

    def answer(self, status, values):
      self.send_response(status)
      self.end_headers()
      self.wfile.write(json.dumps(values).encode())

    def do_GET(self):
      if self.path != "/v1/models/digits/metadata":
        self.answer(404, {"error": "Servable not found for request"})
        return
      signatures = {
        name: json_format.MessageToDict(signature, preserving_proto_field_name=True)
        for name, signature in signature_defs(model_dir).items()
      }
      self.answer(200, {"metadata": {"signature_def": {"signature_def": signatures}}})

    def do_POST(self):
      assert self.path == "/v1/models/digits:predict"
      request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
      infos = signature_defs(model_dir)[request["signature_name"]].inputs
      inputs = {name: read(infos[name], values) for name, values in request["inputs"].items()}
      try:
        outputs = cpp.run(model_dir, request["signature_name"], **inputs)
      except ServingError as error:
        self.answer(400, {"error": error.message})
        return
      # The server writes the shortest decimals that name a float32, as NumPy's strings.
      values = {
        name: (output.astype(str).astype(float) if output.dtype == np.float32 else output).tolist()
        for name, output in outputs.items()
      }
      self.answer(200, {"outputs": values})

  server = http.server.ThreadingHTTPServer(("localhost", 0), Handler)
  threading.Thread(target=server.serve_forever, daemon=True).start()
  try:
    yield f"localhost:{server.server_port}"
  finally:
    server.shutdown()
    server.server_close()
