"""The messages of protos.py agree with the classes of TensorFlow and of its serving API."""

import importlib
import unittest

import numpy as np
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2
from tensorflow.core.protobuf import config_pb2, meta_graph_pb2, saved_model_pb2

from tests.support.serving import exports
from wsram_tf.serving import messages, protos

ARRAYS = [
  np.arange(6, dtype=np.float32).reshape(2, 3) / 7,
  np.array([-1, 0, 2**40, -(2**63)], np.int64),
  np.array([[1, -2], [3, 4]], np.int32),
  np.array([1.5, -2.5]),
  np.array([b"", b"a", b"\x00\xff" * 100], object),
  np.array([True, False, True]),
  np.arange(5, dtype=np.uint8),
  np.array(3.5, np.float32),
  np.zeros([0, 3], np.float32),
  np.zeros([0], object),
]


def serving(module):
  try:
    return importlib.import_module(f"tensorflow_serving.{module}")
  except ImportError as error:
    raise unittest.SkipTest("pip install --no-deps tensorflow-serving-api") from error


def field_by_field(array):
  """A TensorProto with its values in the field of their type, as a server answers."""
  message = tf.make_tensor_proto(array)
  if message.tensor_content:
    field = {1: "float_val", 2: "double_val", 9: "int64_val", 10: "bool_val"}.get(
      message.dtype, "int_val"
    )
    message.ClearField("tensor_content")
    getattr(message, field).extend(array.ravel().tolist())
  return message


class ProtosTest(tf.test.TestCase):
  def test_tensors_are_tensorflows(self):
    for array in ARRAYS:
      with self.subTest(array=array):
        self.check_tensor(array)

  def check_tensor(self, array):
    ours = protos.tensor_proto(array).SerializeToString()
    message = tensor_pb2.TensorProto.FromString(ours)
    self.assertAllEqual(tf.make_ndarray(message), array)
    for real in (message, tf.make_tensor_proto(array), field_by_field(array)):
      read = protos.read_tensor_proto(messages.TensorProto.FromString(real.SerializeToString()))
      self.assertEqual(read.dtype, array.dtype)
      self.assertEqual(read.shape, array.shape)
      self.assertAllEqual(read, array)

  def test_one_value_fills_a_shape(self):
    for value in (np.float32(0.5), np.int64(-7), b"abc"):
      with self.subTest(value=value):
        self.check_filling(value)

  def check_filling(self, value):
    array = np.array([value], object if isinstance(value, bytes) else None)
    proto = protos.tensor_proto(array, [3, 2])
    message = proto.SerializeToString()
    self.assertLess(len(message), 50)
    real = tf.io.parse_tensor(
      message, tf.as_dtype("string" if array.dtype == object else array.dtype)
    )
    self.assertAllEqual(real.numpy(), np.broadcast_to(array, [3, 2]))
    self.assertAllEqual(protos.read_tensor_proto(proto), real.numpy())

  def test_tensors_that_cannot_be_are_refused(self):
    message = tf.make_tensor_proto([1.0, 2.0, 3.0, 4.0])
    message.tensor_shape.dim[0].size = 3
    with self.assertRaisesRegex(ValueError, r"must hold 3 values, as its shape \(3,\); got 4"):
      protos.read_tensor_proto(messages.TensorProto.FromString(message.SerializeToString()))
    message.tensor_shape.Clear()
    message.tensor_shape.unknown_rank = True
    with self.assertRaisesRegex(ValueError, "proto: must have a shape, not an open rank"):
      protos.read_tensor_proto(messages.TensorProto.FromString(message.SerializeToString()))
    with self.assertRaisesRegex(ValueError, "float16"):
      protos.tensor_proto(np.zeros(2, np.float16))

  def test_signatures_are_those_of_the_saved_model(self):
    model_dir = exports.model_dir()
    graph = (model_dir / "saved_model.pb").read_bytes()
    ours = protos.saved_model_signatures(graph)
    real = saved_model_pb2.SavedModel.FromString(graph).meta_graphs[0]
    self.assertEqual(ours, protos.meta_graph_signatures(real.SerializeToString()))
    real_names = {name for name in real.signature_def if not name.startswith("__")}
    self.assertEqual(set(ours), real_names)
    for name, signature in ours.items():
      for infos, real_infos in (
        (signature.inputs, real.signature_def[name].inputs),
        (signature.outputs, real.signature_def[name].outputs),
      ):
        self.assertEqual(set(infos), set(real_infos))
        for key, info in infos.items():
          self.assertEqual(info.tensor, real_infos[key].name)
          self.assertEqual(info.dtype, tf.as_dtype(real_infos[key].dtype).name)
          self.assertEqual(info.shape, tuple(dim.size for dim in real_infos[key].tensor_shape.dim))

  def test_an_open_rank_is_no_scalar(self):
    meta_graph = meta_graph_pb2.MetaGraphDef()
    inputs = meta_graph.signature_def["f"].inputs
    inputs["scalar"].dtype = inputs["open"].dtype = 1
    inputs["scalar"].tensor_shape.SetInParent()
    inputs["open"].tensor_shape.unknown_rank = True
    infos = protos.meta_graph_signatures(meta_graph.SerializeToString())["f"].inputs
    self.assertEqual((infos["scalar"].shape, infos["open"].shape), ((), None))
    self.assertEqual(str(infos["open"]), "float32 of any rank")

  def test_session_config(self):
    for threads, between in ((0, 0), (1, -1), (3, 3)):
      config = config_pb2.ConfigProto.FromString(protos.session_config(threads))
      self.assertEqual(config.intra_op_parallelism_threads, threads)
      self.assertEqual(config.inter_op_parallelism_threads, between)
      self.assertEqual(dict(config.device_count), {"GPU": 0})

  def test_requests_and_responses_are_the_serving_apis(self):
    predict = serving("apis.predict_pb2")
    ours = protos.predict_request("m", "s", {"x": protos.tensor_proto(ARRAYS[0])})
    request = predict.PredictRequest.FromString(ours)
    self.assertEqual((request.model_spec.name, request.model_spec.signature_name), ("m", "s"))
    self.assertAllEqual(tf.make_ndarray(request.inputs["x"]), ARRAYS[0])
    log_class = serving("apis.prediction_log_pb2").PredictionLog
    log = log_class.FromString(protos.prediction_log(ours))
    self.assertEqual(log.predict_log.request, request)
    name, signature, inputs = protos.read_prediction_log(log.SerializeToString())
    self.assertEqual((name, signature), ("m", "s"))
    self.assertAllEqual(inputs["x"], ARRAYS[0])
    response = predict.PredictResponse()
    response.outputs["y"].CopyFrom(field_by_field(ARRAYS[1]))
    outputs = protos.read_predict_response(response.SerializeToString())
    self.assertAllEqual(outputs["y"], ARRAYS[1])

  def test_metadata_are_the_serving_apis(self):
    model_dir = exports.model_dir()
    metadata = serving("apis.get_model_metadata_pb2")
    request = metadata.GetModelMetadataRequest.FromString(protos.metadata_request("m"))
    self.assertEqual(
      (request.model_spec.name, list(request.metadata_field)), ("m", ["signature_def"])
    )
    graph = (model_dir / "saved_model.pb").read_bytes()
    signatures = saved_model_pb2.SavedModel.FromString(graph).meta_graphs[0].signature_def
    signature_map = metadata.SignatureDefMap()
    for name, signature in signatures.items():
      signature_map.signature_def[name].CopyFrom(signature)
    response = metadata.GetModelMetadataResponse()
    response.metadata["signature_def"].Pack(signature_map)
    read = protos.read_metadata_response(response.SerializeToString())
    self.assertEqual(read, protos.saved_model_signatures(graph))

  def test_records_are_tensorflows(self):
    tmp_path = exports.temporary_folder(self)
    path = str(tmp_path / "records")
    records = [b"", b"a", bytes(range(256)) * 40]
    with tf.io.TFRecordWriter(path) as writer:
      for record in records:
        writer.write(record)
    self.assertEqual(protos.read_records(path), records)
    data = (tmp_path / "records").read_bytes()
    for length in (len(data) - 1, len(data) - 5, 5, 17):
      (tmp_path / "records").write_bytes(data[:length])
      with self.assertRaisesRegex(ValueError, "must hold whole records"):
        protos.read_records(path)

  def test_messages_cut_short_are_refused(self):
    log = protos.prediction_log(
      protos.predict_request("m", "s", {"x": protos.tensor_proto(ARRAYS[0])})
    )
    for length in range(1, len(log)):
      with self.assertRaisesRegex(ValueError, "must be a whole message of type PredictionLog"):
        protos.read_prediction_log(log[:length])


if __name__ == "__main__":
  tf.test.main()
