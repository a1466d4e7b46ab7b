"""Kinds of strange things that clients, visitors and servers send; see `trials`."""

import base64
import contextlib
import functools
import http.server
import io
import json
import pathlib
import threading
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
from hypothesis import strategies as st

import wsram_tf
from tests.fuzzing import strange_bytes, strange_files, strange_settings
from tests.fuzzing.trials import RULE, Kind
from wsram_tf import serving
from wsram_tf.cli.programs.prediction import predict
from wsram_tf.data.regions import sets
from wsram_tf.demo import asking
from wsram_tf.serving import protos
from wsram_tf.serving.models import as_images


class _ColourModel:
  """Tells the size of its images, the one thing that a file is prepared by."""

  fit = "resize"

  def image_shape(self) -> tuple[int, int, int]:
    """Height, width and channels."""
    return 8, 9, 3


_drawings = strange_bytes.damaged(strange_files.IMAGES).map(
  lambda contents: "data:image/png;base64," + base64.b64encode(contents).decode()
)
_uploads = st.tuples(strange_bytes.damaged(strange_files.IMAGES), st.booleans())
_urls = _drawings | strange_bytes.odd_values | strange_bytes.odd_texts


def _lay_upload(folder: pathlib.Path, given: tuple[bytes, bool]) -> None:
  (folder / "picture.png").write_bytes(given[0])


def _read_upload(folder: pathlib.Path, given: tuple[bytes, bool]) -> None:
  contents, _ = asking.prepared(_ColourModel(), folder / "picture.png", invert=given[1])
  as_images(contents, 3)


def _read_drawing(folder: pathlib.Path, given: object) -> None:
  asking.prepared_drawing(_ColourModel(), given, 16)


_MANIFEST = b"path,label,patient,split\n" + b"".join(
  b"%d.tif,%s,%d,\n" % (number, (b"benign", b"malignant")[number % 2], number)
  for number in range(12)
)
_manifests = strange_bytes.damaged(
  [_MANIFEST, _MANIFEST, b"\xef\xbb\xbfslide_id,class\r\na,b\r\nc,d\r\n"]
) | (
  st.lists(st.lists(strange_bytes.odd_texts, max_size=5).map(",".join), max_size=3).map(
    lambda rows: _MANIFEST + strange_bytes.as_bytes(rows)
  )
)


def _lay_manifest(folder: pathlib.Path, given: bytes) -> None:
  (folder / "set.csv").write_bytes(given)


def _read_manifest(folder: pathlib.Path, given: bytes) -> None:
  files = sets.read_manifest(folder / "set.csv")
  sets.split_files(files, test_percent=30, validation_percent=30, split_seed=1)


def _info(dtype: str, *shape: int) -> dict[str, Any]:
  return {
    "dtype": dtype,
    "tensor_shape": {"dim": [{"size": str(size)} for size in shape]},
    "name": "x:0",
  }


_SIGNATURES = {
  "classify_bytes": {
    "inputs": {"image_bytes": _info("DT_STRING", -1)},
    "outputs": {"class_id": _info("DT_INT64", -1), "probabilities": _info("DT_FLOAT", -1, 2)},
  },
  "begin": {
    "inputs": {"low_resolution": _info("DT_FLOAT", -1, 2, 2, 1)},
    "outputs": {
      "state": _info("DT_FLOAT", -1, 4),
      "location": _info("DT_FLOAT", -1, 2),
      "glimpses_left": _info("DT_INT64", -1),
    },
  },
  "look": {
    "inputs": {"state": _info("DT_FLOAT", -1, 4), "patches": _info("DT_FLOAT", -1, 1, 3, 3, 1)},
    "outputs": {
      "state": _info("DT_FLOAT", -1, 4),
      "location": _info("DT_FLOAT", -1, 2),
      "glimpses_left": _info("DT_INT64", -1),
      "class_id": _info("DT_INT64", -1),
      "probabilities": _info("DT_FLOAT", -1, 2),
    },
  },
}
_ANSWER = {
  "state": [[1.0, 0, 0, 0]],
  "location": [[0.0, 0.5]],
  "glimpses_left": [0],
  "class_id": [1],
  "probabilities": [[0.25, 0.75]],
}
_metadata = strange_bytes.damaged_json(_SIGNATURES).map(
  lambda signatures: b'{"metadata": {"signature_def": {"signature_def": ' + signatures + b"}}}"
) | strange_bytes.damaged_json({"metadata": {"signature_def": {"signature_def": _SIGNATURES}}})
_outputs = strange_bytes.damaged_json(_ANSWER).map(
  lambda outputs: b'{"outputs": ' + outputs + b"}"
) | strange_bytes.damaged_json({"outputs": _ANSWER})
_right_metadata = json.dumps(
  {"metadata": {"signature_def": {"signature_def": _SIGNATURES}}}
).encode()
_right_outputs = json.dumps({"outputs": _ANSWER}).encode()
_conversations = st.tuples(_metadata, st.just(_right_outputs)) | st.tuples(
  st.just(_right_metadata), _outputs
)


class _Server:
  """A REST server that says what it is given, right or not."""

  def __init__(self):
    said = self.said = {"GET": b"", "POST": b""}

    class Handler(http.server.BaseHTTPRequestHandler):
      def log_message(self, *_):
        """Keeps quiet."""

      def answer(self):
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.send_response(200)
        self.end_headers()
        self.wfile.write(said[self.command])

      do_GET = do_POST = answer

    server = http.server.ThreadingHTTPServer(("localhost", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    self.address = f"localhost:{server.server_port}"


@functools.cache
def _server() -> _Server:
  return _Server()


def _lay_conversation(folder: pathlib.Path, given: tuple[bytes, bytes]) -> None:
  _server().said.update({"GET": given[0], "POST": given[1]})


def _ask_server(folder: pathlib.Path, given: tuple[bytes, bytes]) -> None:
  client = serving.RestClient(_server().address, "digits")
  model = serving.ServedModel(client, "digits")
  model.ask([b"file"])
  if {"begin", "look"} <= model.signatures.keys():
    images = np.zeros([1, 6, 6, 1], np.float32)
    serving.look_around(client, serving.PixelSource(images, 3, 1))


_messages = st.tuples(
  st.sampled_from(["predict", "metadata", "graph", "log", "records"]),
  strange_bytes.damaged(
    [
      protos.predict_request("m", "s", {"x": protos.tensor_proto(np.ones([2, 3], np.float32))}),
      protos.prediction_log(
        protos.predict_request("m", "s", {"x": protos.tensor_proto(np.array([b"a"], object))})
      ),
      protos.metadata_request("m"),
      protos.tensor_proto(np.arange(6).reshape(2, 3)).SerializeToString(),
    ]
  ),
)


def _lay_message(folder: pathlib.Path, given: tuple[str, bytes]) -> None:
  (folder / "records").write_bytes(given[1])


def _read_message(folder: pathlib.Path, given: tuple[str, bytes]) -> None:
  kind, contents = given
  if kind == "records":
    protos.read_records(folder / "records")
    return
  {
    "predict": protos.read_predict_response,
    "metadata": protos.read_metadata_response,
    "graph": protos.saved_model_signatures,
    "log": protos.read_prediction_log,
  }[kind](contents)


@functools.cache
def _network() -> wsram_tf.PredictionNetwork:
  config = wsram_tf.ModelConfig(
    height=9, width=8, units=4, num_glimpses=2, glimpse=wsram_tf.GlimpseConfig(glimpse_side=4)
  )
  keras.utils.set_random_seed(1)
  return wsram_tf.PredictionNetwork(config)


_RIGHT = np.zeros([9, 8, 1], np.float32)
_animations = st.fixed_dictionaries(
  {
    "image": st.sampled_from(
      [
        *(_RIGHT, _RIGHT[..., 0], _RIGHT[None], _RIGHT + np.nan, _RIGHT + 255, _RIGHT[:0]),
        *(_RIGHT.astype(np.uint8), _RIGHT.astype(np.float64), np.zeros([9, 8, 3], np.float32)),
      ]
    )
    | strange_settings.odd_arguments,
    "path": st.sampled_from(["looks.GIF", "looks.png", "looks", ".gif", "no/looks"])
    | strange_settings.odd_arguments.filter(lambda path: not isinstance(path, pathlib.Path)),
  },
  optional={"class_names": strange_settings.odd_arguments},
)


def _animate(folder: pathlib.Path, given: Mapping[str, Any]) -> None:
  path = folder / "looks.GIF"
  try:
    wsram_tf.animate_glimpses(_network(), **given)
  finally:
    path.unlink(missing_ok=True)


class Refused(Exception):
  """The program ended with an error."""


_given_files = st.sampled_from(
  ["image.png", "none.png", "folder", "*.png", "empty", "[", "**", "-", "", "image.png", "text.txt"]
)
_flags = st.sampled_from(["format", "threshold", "regions", "invert", "timeout", "glimpse_scales"])
_given_flags = st.builds(
  lambda name, value: f"--{name}={value}",
  _flags | st.sampled_from(["model_dir", "server", "name", "protocol", "animate", "pretrained"]),
  strange_bytes.odd_texts
  | st.sampled_from(["json", "csv", "text", "empty", "true", "localhost:1"]),
)
_commands = st.tuples(
  strange_bytes.damaged(strange_files.IMAGES),
  st.lists(_given_files | strange_bytes.odd_texts, max_size=3),
  st.lists(_given_flags, min_size=1, max_size=3),
)


def _lay_command(folder: pathlib.Path, given: tuple[bytes, list[str], list[str]]) -> None:
  (folder / "image.png").write_bytes(given[0])
  (folder / "text.txt").write_text("text")
  for name in ("folder", "empty"):
    (folder / name).mkdir(exist_ok=True)
  (folder / "folder" / "a.png").write_bytes(strange_files.IMAGES[0])


def _predict(folder: pathlib.Path, given: tuple[bytes, list[str], list[str]]) -> None:
  printed = io.StringIO()
  with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
    try:
      predict([*given[2], *given[1]])
    except SystemExit as end:
      if end.code:
        raise Refused(f"{printed.getvalue()} {end.code}") from end


KINDS = (
  Kind("uploads", _uploads, _lay_upload, _read_upload, (ValueError,), rf"picture\.png.*{RULE}"),
  Kind(
    "drawings",
    _urls,
    strange_settings.lay_nothing,
    _read_drawing,
    (ValueError,),
    rf"drawing.*{RULE}",
  ),
  Kind(
    "region manifests",
    _manifests,
    _lay_manifest,
    _read_manifest,
    (ValueError,),
    rf"(manifest=.*set\.csv|_percent=|files:).*{RULE}",
  ),
  Kind(
    "server answers",
    _conversations,
    _lay_conversation,
    _ask_server,
    (serving.ServerError, ValueError),
    r"(localhost|name='digits'|model:|source:).*",
  ),
  Kind(
    "messages",
    _messages,
    _lay_message,
    _read_message,
    (ValueError,),
    rf"(contents|proto|saved_model|number|path)\b.*{RULE}",
  ),
  Kind(
    "animations",
    _animations,
    strange_settings.lay_nothing,
    _animate,
    (ValueError, OSError),
    rf"(image|path|class_names).*({RULE}|too long)",
  ),
)
# These take longer: the program loads a network.
PREDICT = Kind(
  "predict",
  _commands,
  _lay_command,
  _predict,
  (Refused,),
  r"(flag --?\w+|command line flag|[a-z_]+=|--\w+|must|cannot|image file|have no answer|No such "
  r"file)",
)
