"""The files beside the models that a model server is started with, and the page that says how.

They lie in the folder that holds the models' folders. The paths in them are a container's
(/models), so that the folder can be moved; the commands say how to do without a container.
"""

import contextlib
import os
import pathlib
from collections.abc import Sequence

import manifests

__all__ = ["write_server_files"]

_MONITORING_CONFIG = """\
prometheus_config {
  enable: true
  path: "/monitoring/prometheus/metrics"
}
"""

_README = """\
# Models for TensorFlow Serving

Written by export_classifier.py, anew at each export.

| model | version | image (height x width x channels) | classes | glimpses | test error |
|---|---|---|---|---|---|
{table}

Each model's folder holds its versions, and `versions.json`, the record of what was exported. Check
one before you serve it, in the checkout of the package:

    python export/verify.py --model_dir=THIS_FOLDER/{name}/{version}

Run all commands below in this folder.

## Start the model server

Take a server at least as new as the TensorFlow that exported the models.

Without a container (`tensorflow_model_server` must be on the PATH):

    tensorflow_model_server --port=8500 --rest_api_port=8501 \\
      --model_name={name} --model_base_path="$PWD/{name}" \\
      --enable_batching --batching_parameters_file="$PWD/batching_parameters.txt" \\
      --monitoring_config_file="$PWD/monitoring.config"

All models at once: `sed "s#/models/#$PWD/#" models.config > /tmp/models.config`, and
`--model_config_file=/tmp/models.config` instead of the two `--model_` flags.

In a container:

    docker run --rm -p 8500:8500 -p 8501:8501 -v "$PWD:/models:ro" tensorflow/serving \\
      --model_config_file=/models/models.config \\
      --enable_batching --batching_parameters_file=/models/batching_parameters.txt \\
      --monitoring_config_file=/models/monitoring.config

The server takes up a new version by itself, and answers from the latest.

## Ask it with curl

{ask_bytes}Pixels, as float32 in 0..1, here all black:

    python -c 'import json; print(json.dumps({{"instances": [{pixels}]}}))' |
      curl -s -d @- http://localhost:8501/v1/models/{name}:predict

The signatures: `curl -s http://localhost:8501/v1/models/{name}/metadata`. The sampled ones,
`attend` and `classify_averaged`, take a `seed` (int64) for each image beside `images`.

## Ask it from Python, over gRPC

`pip install tensorflow-serving-api`, then:

    import grpc
    import numpy as np
    import tensorflow as tf
    from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

    request = predict_pb2.PredictRequest()
    request.model_spec.name = "{name}"
    request.model_spec.signature_name = "serving_default"
    images = np.zeros([1, {height}, {width}, {channels}], np.float32)
    request.inputs["images"].CopyFrom(tf.make_tensor_proto(images))
    channel = grpc.insecure_channel("localhost:8500")
    stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
    response = stub.Predict(request, timeout=10)
    print({{key: tf.make_ndarray(value) for key, value in response.outputs.items()}})

## Ask it about image files of any size

In the checkout of the package; files are resized as needed:

    python export/predict.py --server=localhost:8500 --name={name} IMAGE...

Without a server, from the folder alone:

    python export/predict.py --model_dir=THIS_FOLDER/{name}/{version} IMAGE...

## Try it without a server

    python -c 'import numpy as np; np.save("/tmp/images.npy", np.zeros({shape}, np.float32))'
    saved_model_cli run --dir={name}/{version} --tag_set=serve --signature_def=serving_default \\
      --inputs "images=/tmp/images.npy"
"""

_ASK_BYTES = """\
PNG or JPEG files of {height} x {width} pixels (height x width); this one comes with the export:

    printf '{{"signature_name": "classify_bytes", "instances": [{{"b64": "%s"}}]}}' \\
      "$(base64 -w0 {name}/{version}/assets.extra/example.png)" |
      curl -s -d @- http://localhost:8501/v1/models/{name}:predict

"""


def write_server_files(export_dir: str | os.PathLike, name: str) -> list[str]:
  """Writes models.config, batching_parameters.txt, monitoring.config and README.md.

  A file that somebody changed by hand is left as it is.

  Args:
    export_dir: the folder of all models.
    name: the model that was exported last; the page's examples are about it.

  Returns:
    the names of the files left as they are although this export would have written something else.
  """
  export_dir = pathlib.Path(export_dir)
  latest = _latest_manifests(export_dir)
  others = [other for other in latest if other != name]
  batching = _batching_parameters(latest[name].allowed_batch_sizes)
  texts = {  # What to write, and what was written before this export.
    "models.config": (_models_config(list(latest)), _models_config(others)),
    "batching_parameters.txt": (batching, batching),
    "monitoring.config": (_MONITORING_CONFIG, _MONITORING_CONFIG),
  }
  kept = []
  for file, (text, before) in texts.items():
    path = export_dir / file
    if path.exists() and path.read_text() not in (text, before):
      kept.append(file)
    else:
      _write_text(path, text)
  _write_text(export_dir / "README.md", _readme(latest, name))
  return kept


def _write_text(path: pathlib.Path, text: str) -> None:
  """Replaces a file at once: a server may be reading it."""
  staged = path.with_name(f".{path.name}.{os.getpid()}")
  try:
    staged.write_text(text)
    os.replace(staged, path)
  finally:
    with contextlib.suppress(FileNotFoundError):
      staged.unlink()


def _latest_manifests(export_dir: pathlib.Path) -> dict[str, manifests.Manifest]:
  """The manifest of each model's latest version, by name; folders of other kinds are passed by."""
  latest = {}
  for model_base in sorted(path for path in export_dir.iterdir() if path.is_dir()):
    versions = manifests.version_numbers(model_base)
    if versions and (model_base / str(versions[-1]) / manifests.MANIFEST_FILE).is_file():
      latest[model_base.name] = manifests.read_manifest(model_base / str(versions[-1]))
  return latest


def _models_config(names: Sequence[str]) -> str:
  """Text of a `tensorflow.serving.ModelServerConfig`."""
  configs = "".join(
    "  config {\n"
    f'    name: "{name}"\n'
    f'    base_path: "/models/{name}"\n'
    '    model_platform: "tensorflow"\n'
    "  }\n"
    for name in names
  )
  return f"model_config_list {{\n{configs}}}\n"


def _batching_parameters(allowed_batch_sizes: Sequence[int]) -> str:
  """Text of a `tensorflow.serving.BatchingParameters`."""
  sizes = "".join(f"allowed_batch_sizes: {size}\n" for size in allowed_batch_sizes)
  return (
    "# A request of more images than this is refused: split it.\n"
    f"max_batch_size {{ value: {allowed_batch_sizes[-1]} }}\n"
    "# How long a request waits for others to share a batch, in microseconds.\n"
    "batch_timeout_micros { value: 1000 }\n"
    "max_enqueued_batches { value: 100 }\n"
    "# A batch is filled up to the next of these; the last must be max_batch_size.\n"
    f"{sizes}"
  )


def _readme(latest: dict[str, manifests.Manifest], name: str) -> str:
  rows = []
  for model in latest.values():
    error = "not known" if model.test_error_percent is None else f"{model.test_error_percent:.2f}%"
    size = f"{model.height} x {model.width} x {model.channels}"
    rows.append(
      f"| {model.name} | {model.version} | {size} | {model.num_classes} | {model.num_glimpses} | "
      f"{error} |"
    )
  model = latest[name]
  shape = [1, model.height, model.width, model.channels]
  pixels = f"[[[0.0] * {model.channels}] * {model.width}] * {model.height}"
  facts = {"height": model.height, "width": model.width, "channels": model.channels, "name": name}
  facts["version"] = model.version
  ask_bytes = _ASK_BYTES.format(**facts) if "classify_bytes" in model.contract else ""
  return _README.format(
    table="\n".join(rows), ask_bytes=ask_bytes, shape=shape, pixels=pixels, **facts
  )
