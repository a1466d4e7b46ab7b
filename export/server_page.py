"""The page beside the models: how to start a server with them, and how to ask it."""

from collections.abc import Mapping

import manifests

__all__ = ["page_text"]

_README = """\
# Models for TensorFlow Serving

Written anew at each export.

{tables}

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

{curl}## Ask it from Python, over gRPC

`pip install tensorflow-serving-api`, then:

    import grpc
    import numpy as np
    import tensorflow as tf
    from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

    request = predict_pb2.PredictRequest()
    request.model_spec.name = "{name}"
    request.model_spec.signature_name = "serving_default"
{grpc_input}    channel = grpc.insecure_channel("localhost:8500")
    stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
    response = stub.Predict(request, timeout=10)
    print({{key: tf.make_ndarray(value) for key, value in response.outputs.items()}})

## Ask it about image files of any size

In the checkout of the package; files of other sizes are resized:

    python export/predict.py --server=localhost:8500 --name={name} IMAGE...

Without a server, from the folder alone:

    python export/predict.py --model_dir=THIS_FOLDER/{name}/{version} IMAGE...

## Try it without a server

    python -c 'import numpy as np; np.save("/tmp/{try_key}.npy", np.zeros({try_shape}, np.float32))'
    saved_model_cli run --dir={name}/{version} --tag_set=serve --signature_def={try_signature} \\
      --inputs "{try_key}=/tmp/{try_key}.npy"
"""

_CLASSIFIERS = """\
| model | version | image (height x width x channels) | classes | glimpses | test error |
|---|---|---|---|---|---|
"""
_CAPTIONERS = """\
| model that describes | version | image (height x width x channels) | words known | longest \
caption | beam width | test figures |
|---|---|---|---|---|---|---|
"""

_ASK_CLASSIFIER_FILES = """\
PNG or JPEG files of {height} x {width} pixels (height x width); this one comes with the export:

    printf '{{"signature_name": "classify_bytes", "instances": [{{"b64": "%s"}}]}}' \\
      "$(base64 -w0 {name}/{version}/assets.extra/example.png)" |
      curl -s -d @- http://localhost:8501/v1/models/{name}:predict

"""
_ASK_CLASSIFIER = """\
{ask_files}Pixels, as float32 in 0..1, here all black:

    python -c 'import json; print(json.dumps({{"instances": [{pixels}]}}))' |
      curl -s -d @- http://localhost:8501/v1/models/{name}:predict

The signatures: `curl -s http://localhost:8501/v1/models/{name}/metadata`. The sampled ones,
`attend` and `classify_averaged`, take a `seed` (int64) for each image beside `images`.

"""
_CLASSIFIER_GRPC = """\
    images = np.zeros([1, {height}, {width}, {channels}], np.float32)
    request.inputs["images"].CopyFrom(tf.make_tensor_proto(images))
"""
_ASK_CAPTIONER = """\
PNG or JPEG files {sizes}; this one comes with the export:

    printf '{{"instances": [{{"b64": "%s"}}]}}' \\
      "$(base64 -w0 {name}/{version}/assets.extra/example.png)" |
      curl -s -d @- http://localhost:8501/v1/models/{name}:predict

The answer holds `caption`; `log_prob`, its log-probability in nats; and by place `words` and
`locations`, the middle of the cell looked at before each word, (row, column) in -1..1 of the image.
Behind the caption's last word they are empty and 0. {turned}

The signatures: `curl -s http://localhost:8501/v1/models/{name}/metadata`. Beside the default,
`{try_signature}` takes {try_meaning}.

"""
_CAPTIONER_GRPC = """\
    with open("{name}/{version}/assets.extra/example.png", "rb") as file:
      request.inputs["image_bytes"].CopyFrom(tf.make_tensor_proto([file.read()]))
"""


def page_text(latest: Mapping[str, manifests.Manifest], name: str) -> str:
  """The text of README.md.

  Args:
    latest: the manifest of each model's latest version, by the model's name.
    name: the model that the examples are about.
  """
  model = latest[name]
  shape = model.image_shape
  facts = {"height": shape[0], "width": shape[1], "channels": shape[2], "name": name}
  facts["version"] = model.version
  if isinstance(model, manifests.CaptionerManifest):
    facts |= _captioner_facts(model)
    curl, grpc_input = _ASK_CAPTIONER, _CAPTIONER_GRPC
  else:
    facts |= {"try_key": "images", "try_shape": [1, *shape], "try_signature": "serving_default"}
    facts["pixels"] = f"[[[0.0] * {shape[2]}] * {shape[1]}] * {shape[0]}"
    has_files = "classify_bytes" in model.contract
    facts["ask_files"] = _ASK_CLASSIFIER_FILES.format(**facts) if has_files else ""
    curl, grpc_input = _ASK_CLASSIFIER, _CLASSIFIER_GRPC
  return _README.format(
    tables=_tables(latest),
    curl=curl.format(**facts),
    grpc_input=grpc_input.format(**facts),
    **facts,
  )


def _captioner_facts(model: manifests.CaptionerManifest) -> dict[str, object]:
  if model.feature_shape is None:
    return {
      "sizes": f"of {model.height} x {model.width} pixels (height x width)",
      "turned": "",
      "try_key": "images",
      "try_shape": [1, *model.image_shape],
      "try_signature": "caption_images",
      "try_meaning": f"`images` {[-1, *model.image_shape]}, float32 in 0..1",
    }
  return {
    "sizes": f"of any size up to {model.largest_pixels} pixels, which the model stretches to "
    f"{model.height} x {model.width}",
    "turned": "Photographs must lie\nupright in the file: how the camera was held is not read.",
    "try_key": "features",
    "try_shape": [1, *model.feature_shape],
    "try_signature": "caption_features",
    "try_meaning": f"`features` {[-1, *model.feature_shape]}, what the backbone makes of an image",
  }


def _tables(latest: Mapping[str, manifests.Manifest]) -> str:
  rows = {_CLASSIFIERS: [], _CAPTIONERS: []}
  for model in latest.values():
    size = " x ".join(map(str, model.image_shape))
    start = f"| {model.name} | {model.version} | {size} | "
    if isinstance(model, manifests.CaptionerManifest):
      shown = {key: value for key, value in model.test_figures.items() if _is_score(key)}
      figures = ", ".join(f"{key} {value:.4g}" for key, value in shown.items()) or "not known"
      rows[_CAPTIONERS].append(
        f"{start}{model.vocabulary_size} | {model.num_glimpses} | {model.beam_width} | {figures} |"
      )
    else:
      error = model.test_error_percent
      known = "not known" if error is None else f"{error:.2f}%"
      rows[_CLASSIFIERS].append(f"{start}{model.num_classes} | {model.num_glimpses} | {known} |")
  return "\n\n".join(head + "\n".join(lines) for head, lines in rows.items() if lines)


def _is_score(figure: str) -> bool:
  return figure.startswith("bleu_") or figure in ("scenes_correct_percent", "rouge_l", "cider")
