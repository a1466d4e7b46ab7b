"""Protocol messages that exports and model servers exchange, loaded without TensorFlow.

TensorBoard's package brings TensorFlow's own messages and loads without TensorFlow. It lacks those
of TensorFlow Serving, and tensorflow-serving-api imports TensorFlow. This module therefore declares
the serving messages, with the fields in use; protobuf passes over all others.

Source: tensorflow_serving/apis and tensorflow/core/protobuf/saved_model.proto, by message name.
"""

from typing import Any, TypeAlias

from google.protobuf import any_pb2, descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError
from tensorboard.compat.proto import config_pb2, meta_graph_pb2, tensor_pb2

__all__ = [
  "ConfigProto",
  "DecodeError",
  "GetModelMetadataRequest",
  "GetModelMetadataResponse",
  "Message",
  "MetaGraphDef",
  "PredictRequest",
  "PredictResponse",
  "PredictionLog",
  "SavedModel",
  "SignatureDefMap",
  "TensorProto",
]

# An instance of one of the classes below. protobuf makes the classes and their fields when it loads
# the descriptors, so that no type checker knows them.
Message: TypeAlias = Any

_config: Any = config_pb2
_meta_graph: Any = meta_graph_pb2
_tensor: Any = tensor_pb2
ConfigProto = _config.ConfigProto
MetaGraphDef = _meta_graph.MetaGraphDef
TensorProto = _tensor.TensorProto

_PACKAGE = "wsram_tf.serving"
_IMPORTED = {
  "Any": any_pb2.Any,
  "MetaGraphDef": MetaGraphDef,
  "SignatureDef": _meta_graph.SignatureDef,
  "TensorProto": TensorProto,
}
# Fields by message: name, number and type; [] repeats the type, {} maps strings to it.
_FIELDS = {
  "SavedModel": {"meta_graphs": (2, "MetaGraphDef[]")},
  "ModelSpec": {"name": (1, "string"), "signature_name": (3, "string")},
  "PredictRequest": {"model_spec": (1, "ModelSpec"), "inputs": (2, "TensorProto{}")},
  "PredictResponse": {"outputs": (1, "TensorProto{}")},
  "PredictLog": {"request": (1, "PredictRequest")},
  "PredictionLog": {"predict_log": (6, "PredictLog")},
  "GetModelMetadataRequest": {"model_spec": (1, "ModelSpec"), "metadata_field": (2, "string[]")},
  "GetModelMetadataResponse": {"metadata": (2, "Any{}")},
  "SignatureDefMap": {"signature_def": (1, "SignatureDef{}")},
}


def _add_field(owner: descriptor_pb2.DescriptorProto, name: str, number: int, kind: str) -> None:
  element = kind.rstrip("[]{}")
  field = owner.field.add(name=name, number=number, label=3 if element != kind else 1)
  if kind.endswith("{}"):  # A map is a list of entries, of a nested type.
    entry = owner.nested_type.add(name=f"{name.title().replace('_', '')}Entry")
    entry.options.map_entry = True
    _add_field(entry, "key", 1, "string")
    _add_field(entry, "value", 2, element)
    element = f"{owner.name}.{entry.name}"
  if element in _IMPORTED:
    field.type = field.TYPE_MESSAGE
    field.type_name = f".{_IMPORTED[element].DESCRIPTOR.full_name}"
  elif element in _FIELDS or "." in element:
    field.type, field.type_name = field.TYPE_MESSAGE, f".{_PACKAGE}.{element}"
  else:
    field.type = field.Type.Value(f"TYPE_{element.upper()}")


def _message_classes() -> dict[str, Any]:
  files = sorted({message.DESCRIPTOR.file.name for message in _IMPORTED.values()})
  file = descriptor_pb2.FileDescriptorProto(
    name="wsram_tf/serving.proto", package=_PACKAGE, syntax="proto3", dependency=files
  )
  for owner, fields in _FIELDS.items():
    described = file.message_type.add(name=owner)
    for name, (number, kind) in fields.items():
      _add_field(described, name, number, kind)
  pool = descriptor_pool.Default()  # It holds the imported messages.
  pool.AddSerializedFile(file.SerializeToString())
  return {
    name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.{name}"))
    for name in _FIELDS
  }


_CLASSES = _message_classes()
SavedModel = _CLASSES["SavedModel"]
PredictRequest = _CLASSES["PredictRequest"]
PredictResponse = _CLASSES["PredictResponse"]
PredictionLog = _CLASSES["PredictionLog"]
GetModelMetadataRequest = _CLASSES["GetModelMetadataRequest"]
GetModelMetadataResponse = _CLASSES["GetModelMetadataResponse"]
SignatureDefMap = _CLASSES["SignatureDefMap"]
