"""Message classes for what an export and its server exchange, made without importing TensorFlow.

Every package that carries `PredictionLog`, `PredictRequest` and their kin imports TensorFlow
(tensorflow-serving-api does), and the programs that talk to an export (`verify`, `predict`) must
not: what they report has to be the C++ loader's or the server's doing. So the fields that are used
are declared here, for Google's protobuf library to read and write; it passes over all others.

Source: tensorflow/core/protobuf, tensorflow/core/framework and tensorflow_serving/apis, by the
  messages' names.
"""

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

__all__ = ["MESSAGES"]

# Of each message: its fields' names, numbers and types; [] repeats, {} maps strings to the type.
_FIELDS = {
  "Dim": {"size": (1, "int64")},
  "TensorShapeProto": {"dim": (2, "Dim[]"), "unknown_rank": (3, "bool")},
  "TensorProto": {
    "dtype": (1, "int32"),
    "tensor_shape": (2, "TensorShapeProto"),
    "tensor_content": (4, "bytes"),
    "float_val": (5, "float[]"),
    "double_val": (6, "double[]"),
    "int_val": (7, "int32[]"),
    "string_val": (8, "bytes[]"),
    "int64_val": (10, "int64[]"),
    "bool_val": (11, "bool[]"),
  },
  "TensorInfo": {
    "name": (1, "string"),
    "dtype": (2, "int32"),
    "tensor_shape": (3, "TensorShapeProto"),
  },
  "SignatureDef": {"inputs": (1, "TensorInfo{}"), "outputs": (2, "TensorInfo{}")},
  "MetaInfoDef": {"tags": (4, "string[]")},
  "MetaGraphDef": {"meta_info_def": (1, "MetaInfoDef"), "signature_def": (5, "SignatureDef{}")},
  "SavedModel": {"meta_graphs": (2, "MetaGraphDef[]")},
  "ConfigProto": {
    "device_count": (1, "int32{}"),
    "intra_op_parallelism_threads": (2, "int32"),
    "inter_op_parallelism_threads": (5, "int32"),
  },
  "ModelSpec": {"name": (1, "string"), "signature_name": (3, "string")},
  "PredictRequest": {"model_spec": (1, "ModelSpec"), "inputs": (2, "TensorProto{}")},
  "PredictResponse": {"outputs": (1, "TensorProto{}")},
  "PredictLog": {"request": (1, "PredictRequest")},
  "PredictionLog": {"predict_log": (6, "PredictLog")},
  "GetModelMetadataRequest": {"model_spec": (1, "ModelSpec"), "metadata_field": (2, "string[]")},
  "Any": {"value": (2, "bytes")},
  "GetModelMetadataResponse": {"metadata": (2, "Any{}")},
  "SignatureDefMap": {"signature_def": (1, "SignatureDef{}")},
}


def _add_field(owner: descriptor_pb2.DescriptorProto, name: str, number: int, kind: str) -> None:
  element = kind.rstrip("[]{}")
  field = owner.field.add(name=name, number=number, label=3 if element != kind else 1)
  if kind.endswith("{}"):  # In the format a map is a list of entries, of a type of their own.
    entry = owner.nested_type.add(name=f"{name.title().replace('_', '')}Entry")
    entry.options.map_entry = True
    _add_field(entry, "key", 1, "string")
    _add_field(entry, "value", 2, element)
    element = f"{owner.name}.{entry.name}"
  if element in _FIELDS or "." in element:
    field.type, field.type_name = field.TYPE_MESSAGE, f".serving.{element}"
  else:
    field.type = field.Type.Value(f"TYPE_{element.upper()}")


def _message_classes() -> dict[str, type]:
  file = descriptor_pb2.FileDescriptorProto(
    name="serving.proto", package="serving", syntax="proto3"
  )
  for owner, fields in _FIELDS.items():
    described = file.message_type.add(name=owner)
    for name, (number, kind) in fields.items():
      _add_field(described, name, number, kind)
  pool = descriptor_pool.DescriptorPool()  # Its own, where no other package's names are in the way.
  pool.AddSerializedFile(file.SerializeToString())
  return {
    name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"serving.{name}"))
    for name in _FIELDS
  }


MESSAGES = _message_classes()
