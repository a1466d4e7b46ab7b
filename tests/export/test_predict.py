"""The program predict.py, on files of all sizes, from an export and from a server.

tensorflow_model_server is in no package registry, so a stand-in speaks its two protocols here: over
gRPC the serving API's own service and messages, over REST what TensorFlow Serving's page on its
RESTful API describes. What answers is the C++ loader. A test in test_export_classifier.py asks the
real server where there is one.
"""

import base64
import http.server
import json
import re
import threading
from concurrent import futures

import cpp_loader
import examples
import grpc
import numpy as np
import PIL.Image
import pytest
import tensorflow as tf
from google.protobuf import json_format
from tensorflow.core.protobuf import saved_model_pb2

from wsram_tf.data import canvas_config, canvases, digits

REASON = "pip install --no-deps tensorflow-serving-api"


def signature_defs(model_dir):
  graph = (model_dir / "saved_model.pb").read_bytes()
  return saved_model_pb2.SavedModel.FromString(graph).meta_graphs[0].signature_def


@pytest.fixture
def grpc_server(cpp, model_dir):
  metadata_pb2 = pytest.importorskip(
    "tensorflow_serving.apis.get_model_metadata_pb2", reason=REASON
  )
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
      except cpp_loader.ServingError as error:
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
  yield f"localhost:{port}"
  server.stop(0)


@pytest.fixture
def rest_server(cpp, model_dir):
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
      files = [base64.b64decode(value["b64"]) for value in request["inputs"]["image_bytes"]]
      try:
        outputs = cpp.run(
          model_dir, request["signature_name"], image_bytes=examples.as_bytes_array(files)
        )
      except cpp_loader.ServingError as error:
        self.answer(400, {"error": error.message})
        return
      self.answer(200, {"outputs": {name: value.tolist() for name, value in outputs.items()}})

  server = http.server.ThreadingHTTPServer(("localhost", 0), Handler)
  threading.Thread(target=server.serve_forever, daemon=True).start()
  yield f"localhost:{server.server_port}"
  server.shutdown()
  server.server_close()


@pytest.fixture(scope="module")
def files(tmp_path_factory):
  """Image files by what they are; the model's images are 40 x 36 (height x width) and grey."""
  folder = tmp_path_factory.mktemp("files")
  generator = np.random.RandomState(0)
  grey = generator.randint(0, 256, [40, 36]).astype(np.uint8)
  colour = generator.randint(0, 256, [90, 70, 3]).astype(np.uint8)
  images = {
    "right.png": PIL.Image.fromarray(grey),
    "inverted.png": PIL.Image.fromarray(255 - grey),
    "right.jpg": PIL.Image.fromarray(grey),
    "large.jpg": PIL.Image.fromarray(colour),
    "alpha.png": PIL.Image.fromarray(colour).convert("RGBA"),
    "palette.png": PIL.Image.fromarray(colour).convert("P"),
    "tiny.png": PIL.Image.fromarray(grey[:3, :5]),
    "sixteen bits.png": PIL.Image.fromarray(grey.astype(np.uint16).repeat(2, axis=0) * 256 + 100),
    "other.gif": PIL.Image.fromarray(grey),
  }
  for name, image in images.items():
    image.save(folder / name)
  (folder / "cut.png").write_bytes((folder / "right.png").read_bytes()[:700])
  (folder / "text.png").write_text("no image")
  return folder


def predict(helpers, *arguments):
  done = helpers.run_program("predict.py", *arguments)
  assert "Traceback" not in done.stderr, done.stderr
  return done


def expected_line(path, outputs):
  probabilities = outputs["probabilities"][0]
  order = np.argsort(-probabilities)[:3]
  return f"{path}: " + ", ".join(f"{k} ({100 * probabilities[k]:.1f}%)" for k in order)


def test_a_file_of_the_right_size_is_answered_as_the_server_would(helpers, cpp, model_dir, files):
  paths = [files / "right.png", files / "right.jpg"]
  done = predict(helpers, f"--model_dir={model_dir}", *map(str, paths))
  assert done.returncode == 0, done.stderr
  for path, line in zip(paths, done.stdout.splitlines(), strict=True):
    contents = examples.as_bytes_array([path.read_bytes()])
    outputs = cpp.run(model_dir, "classify_bytes", image_bytes=contents)
    assert line.startswith(expected_line(path, outputs))
    looked = re.findall(r"\(([+-][\d.]+), ([+-][\d.]+)\)", line)
    np.testing.assert_allclose(np.array(looked, float), outputs["locations"][0], atol=0.0051)


def test_other_sizes_are_resized_and_it_is_said(helpers, model_dir, files):
  names = ["large.jpg", "alpha.png", "palette.png", "tiny.png", "sixteen bits.png"]
  done = predict(helpers, f"--model_dir={model_dir}", *(str(files / name) for name in names))
  assert done.returncode == 0, done.stderr
  lines = done.stdout.splitlines()
  sizes = ["90 x 70", "90 x 70", "90 x 70", "3 x 5", "80 x 36"]
  for name, size, note in zip(names, sizes, lines[::2], strict=True):
    expected = f"{files / name}: resized from {size} to 40 x 36 pixels (height x width)"
    assert note == expected


def test_sixteen_bits_are_scaled_not_clipped(helpers, model_dir, files, tmp_path):
  eight = PIL.Image.open(files / "right.png")
  doubled = np.asarray(eight).repeat(2, axis=0)
  PIL.Image.fromarray(doubled).save(tmp_path / "eight.png")
  paths = [str(tmp_path / "eight.png"), str(files / "sixteen bits.png")]
  lines = predict(helpers, f"--model_dir={model_dir}", *paths).stdout.splitlines()
  assert lines[1].partition(": ")[2] == lines[3].partition(": ")[2]


def test_transparent_pixels_are_seen_as_black(helpers, model_dir, tmp_path):
  pixels = np.full([40, 36, 4], 255, np.uint8)
  pixels[:30, :, 3] = 0
  PIL.Image.fromarray(pixels).save(tmp_path / "transparent.png")
  pixels[:30] = 0
  PIL.Image.fromarray(pixels[..., :3]).save(tmp_path / "black.png")
  paths = [str(tmp_path / name) for name in ("transparent.png", "black.png")]
  done = predict(helpers, f"--model_dir={model_dir.parent}", *paths)  # Its newest version.
  assert done.returncode == 0, done.stderr
  transparent, black = (line.partition(": ")[2] for line in done.stdout.splitlines())
  assert transparent == black


def test_a_full_disk_is_said_in_one_line(helpers, model_dir, files, tmp_path):
  done = helpers.run_with_small_files(
    "predict.py",
    1000,
    f"--model_dir={model_dir}",
    f"--draw_dir={tmp_path}",
    str(files / "right.png"),
  )
  assert done.returncode == 1
  assert "Traceback" not in done.stderr
  last = done.stderr.splitlines()[-1]
  assert last.startswith(f"predict.py: draw_dir={tmp_path}: right_glimpses.png cannot be written, ")
  assert not list(tmp_path.iterdir())


def test_invert(helpers, model_dir, files):
  plain = predict(helpers, f"--model_dir={model_dir}", str(files / "right.png")).stdout
  inverted = predict(
    helpers, f"--model_dir={model_dir}", "--invert", str(files / "inverted.png")
  ).stdout
  assert plain.partition(": ")[2] == inverted.partition(": ")[2]


@pytest.mark.parametrize("protocol", ["grpc", "rest"])
def test_a_server_answers_the_same(helpers, model_dir, files, request, protocol):
  server = request.getfixturevalue(f"{protocol}_server")
  paths = [str(files / name) for name in ("right.png", "large.jpg")]
  flags = [f"--server={server}", "--name=digits", f"--protocol={protocol}"]
  local = predict(helpers, f"--model_dir={model_dir}", *paths)
  remote = predict(helpers, *flags, *paths)
  assert remote.returncode == 0, remote.stderr
  assert remote.stdout == local.stdout != ""
  refused = predict(helpers, *flags, str(files / "cut.png"))
  assert refused.returncode == 1
  assert "image_bytes" in refused.stderr
  unknown = predict(helpers, *flags, "--name=other", *paths)
  assert unknown.returncode == 1
  assert "Servable not found" in unknown.stderr


def test_glimpses_are_drawn(helpers, model_dir, files, tmp_path):
  folder = tmp_path / "pictures"
  flags = [f"--model_dir={model_dir}", f"--draw_dir={folder}"]
  paths = [str(files / "right.png"), str(files / "large.jpg")]
  done = predict(helpers, *flags, *paths)
  assert done.returncode == 0, done.stderr
  for name in ("right", "large"):
    assert f"drawn in {folder / name}_glimpses.png" in done.stdout
    picture = PIL.Image.open(folder / f"{name}_glimpses.png").convert("RGB")
    assert picture.height / picture.width == pytest.approx(40 / 36, abs=0.01)
    if name == "right":  # The image is grey, the squares are not.
      assert np.ptp(np.asarray(picture).astype(int), axis=-1).max() > 60
  twice = predict(helpers, *flags, str(files / "right.png"), str(files / "right.jpg"))
  assert twice.returncode == 1
  assert "must differ in their names" in twice.stderr


def test_the_packages_weights_read_digits_at_once(helpers, tmp_path):
  evaluation = canvases.evaluation_canvases(
    digits.load_digits("mnist5k", num_validation=0).test,
    canvas_config.CanvasConfig(smallest_digit=28),
    num_canvases=20,
    batch_size=20,
    seed=5,
  )
  images, labels = next(evaluation.as_numpy_iterator())
  paths = [str(tmp_path / f"{number}.png") for number in range(20)]
  for path, image in zip(paths, images, strict=True):
    PIL.Image.fromarray((255 * image[..., 0]).astype(np.uint8)).save(path)
  done = predict(helpers, *paths)
  assert done.returncode == 0, done.stderr
  said, *lines = done.stdout.splitlines()
  assert (
    said == "No model named: these are the answers of the package's weights 'translated_scaled'"
  )
  read = [int(re.search(r"png: (\d) \(", line).group(1)) for line in lines]
  assert np.count_nonzero(np.array(read) == labels) >= 16


@pytest.mark.parametrize("protocol", ["grpc", "rest"])
def test_no_server_is_said_in_one_line(helpers, files, protocol):
  flags = ["--server=localhost:9", "--name=digits", f"--protocol={protocol}", "--timeout=3"]
  done = predict(helpers, *flags, str(files / "right.png"))
  assert done.returncode == 1
  assert "localhost:9" in done.stderr
  assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
  ("name", "words"),
  [
    ("other.gif", "must be a PNG or JPEG file"),
    ("text.png", "must be a PNG or JPEG file"),
    ("nothing.png", "No such file"),
    (".", "Is a directory"),
    ("cut.png", "image_bytes_must_hold_a_whole_PNG_or_JPEG"),
  ],
)
def test_what_is_no_image_is_refused_by_name(helpers, model_dir, files, name, words):
  done = predict(helpers, f"--model_dir={model_dir}", str(files / "right.png"), str(files / name))
  assert done.returncode == 1
  assert words in done.stderr
  if name != "cut.png":  # Its header is whole, so only the model finds out.
    assert name in done.stderr
    assert not done.stdout


@pytest.mark.parametrize(
  ("flags", "words"),
  [
    (["--pretrained=quickstart", "--server=localhost:1", "--name=x"], "at most one of --model_dir"),
    (["--server=localhost", "--name=x"], "must be host:port"),
    (["--server=localhost:1"], "--name belongs to --server"),
    (["--server=localhost:1", "--name=x", "--draw_dir=d"], "--draw_dir needs --model_dir"),
    (["--server=localhost:1", "--name=x", "--timeout=0"], "must be above 0"),
    (["--model_dir=nowhere"], "must be a folder that an export wrote"),
  ],
)
def test_wrong_flags_are_refused(helpers, flags, words):
  done = predict(helpers, *flags, "image.png")
  assert done.returncode == 1
  assert words in done.stderr
