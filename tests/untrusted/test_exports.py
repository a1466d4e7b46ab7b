"""An export of an attacker, whose graph reads and writes files, is refused before it loads."""

import functools
import os
import pathlib
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import zipfile

import numpy as np
import tensorflow as tf
from tensorflow.core.framework import op_def_pb2
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow.python.client import pywrap_tf_session

from wsram_tf.serving import manifests
from wsram_tf.serving.verification import opened, operations

# Loads an export as predict.py and the verification do, in a process without Python's TensorFlow.
_LOAD = """
import sys
from wsram_tf.serving import LoadedModel
try:
  LoadedModel(sys.argv[1])
except ValueError as error:
  print(error)
"""
# Arguments of operations that name a file or a server.
_NAMES = r"(^|_)(file|files|filename|path|dir|directory|address|urls|prefix|logdir|descriptor)(_|$)"


class Attack(tf.Module):
  """A model whose signature is an attacker's."""

  def __init__(self, serve):
    self.weight, self.table = tf.Variable([1.0]), getattr(serve, "table", None)
    self.serve = tf.function(
      lambda x: {"y": serve(x) + self.weight}, [tf.TensorSpec([None], tf.float32, "x")]
    )


def write_file(x):
  tf.io.write_file("/tmp/written-by-an-export", "text")
  return x


def read_file(x):
  return x + tf.cast(tf.strings.length(tf.io.read_file("/etc/hostname")), tf.float32)


def read_in_a_branch(x):
  return tf.cond(tf.reduce_sum(x) > 0, lambda: read_file(x), lambda: x)


def run_python(x):
  return tf.numpy_function(lambda value: value, [x], tf.float32)


def print_to_a_file(x):
  tf.print("text", output_stream="file:///tmp/written-by-an-export")
  return x


def save_weights(x):
  tf.raw_ops.SaveV2(prefix="/tmp/x", tensor_names=["x"], shape_and_slices=[""], tensors=[x])
  return x


def restore_weights(x):
  [stored] = tf.raw_ops.RestoreV2(
    prefix="/tmp/x", tensor_names=["x"], shape_and_slices=[""], dtypes=[tf.float32]
  )
  return x + stored


class ReadTable:
  """Looks words up in a file that is read when the export loads."""

  def __init__(self, path):
    words = tf.lookup.TextFileInitializer(
      os.fspath(path), tf.string, tf.lookup.TextFileIndex.WHOLE_LINE, tf.int64, -1
    )
    self.table = tf.lookup.StaticHashTable(words, 0)

  def __call__(self, x):
    return x + tf.cast(self.table.lookup(tf.constant("a")), tf.float32)


class UntrustedExportTest(tf.test.TestCase):
  def setUp(self):
    super().setUp()
    self.folder = pathlib.Path(tempfile.mkdtemp())
    self.addCleanup(shutil.rmtree, self.folder)

  @functools.cached_property
  def harmless(self) -> pathlib.Path:
    return self.written(tf.identity, "harmless")

  def written(self, serve, name: str) -> pathlib.Path:
    path, module = self.folder / name, Attack(serve)
    tf.saved_model.save(module, os.fspath(path), {"serving_default": module.serve})
    return path

  def changed(self, name: str, change) -> pathlib.Path:
    """Copies the harmless export, with another graph; `change` also receives all graphs."""
    path = pathlib.Path(shutil.copytree(self.harmless, self.folder / name))
    graph = saved_model_pb2.SavedModel.FromString((path / operations.GRAPH).read_bytes())
    change(graph.meta_graphs[0], graph.meta_graphs)
    (path / operations.GRAPH).write_bytes(graph.SerializeToString())
    return path

  def assert_refused(self, path: pathlib.Path, words: str) -> None:
    with self.assertRaises(ValueError) as caught:
      operations.check_operations(path)
    self.assertIn(f"model_dir={path}: {words}", str(caught.exception))

  def test_signatures(self):
    operations.check_operations(self.harmless)
    words = self.folder / "words.txt"
    words.write_text("a\n")
    for serve, operation in (
      (write_file, "WriteFile"),
      (read_file, "ReadFile"),
      (read_in_a_branch, "ReadFile"),
      (run_python, "PyFunc"),
      (print_to_a_file, "PrintV2"),
      (save_weights, "SaveV2"),
      (restore_weights, "RestoreV2"),
      (ReadTable(words), "InitializeTableFromTextFileV2"),
    ):
      with self.subTest(operation, serve=serve):
        path = self.written(serve, str(len(list(self.folder.iterdir()))))
        self.assert_refused(path, f"operation '{operation}'")

  def test_graphs(self):
    def initialise(meta_graph, _):
      meta_graph.graph_def.node.add(name="read", op="ReadFile", input=["Const"])
      next(one for one in meta_graph.graph_def.node if one.name == "NoOp").input.append("^read")

    def serve_the_saving(meta_graph, _):
      meta_graph.signature_def["serving_default"].outputs[
        "y"
      ].name = meta_graph.saver_def.save_tensor_name

    def depend_on_the_saving(meta_graph, _):
      saving = meta_graph.saver_def.save_tensor_name.partition(":")[0]
      next(one for one in meta_graph.graph_def.node if one.name == "NoOp").input.append(
        f"^{saving}"
      )

    def call_the_saving(meta_graph, _):
      saving = meta_graph.saver_def.save_tensor_name.partition(":")[0]
      [node] = [one for one in meta_graph.graph_def.node if one.name == saving]
      copy = meta_graph.graph_def.node.add()
      copy.CopyFrom(node)
      copy.name = "again"

    def restore_from_elsewhere(meta_graph, _):
      [function] = [
        one for one in meta_graph.graph_def.library.function if "restore" in one.signature.name
      ]
      [node] = [one for one in function.node_def if one.op == "RestoreV2"]
      node.input[0] = "elsewhere:output:0"

    def hide_in_a_second_graph(meta_graph, all_graphs):
      other = all_graphs.add()
      other.CopyFrom(meta_graph)
      initialise(other, None)

    for change, words in (
      (initialise, "operation 'ReadFile'"),
      (serve_the_saving, "operation '"),
      (depend_on_the_saving, "operation '"),
      (call_the_saving, "operation '"),
      (restore_from_elsewhere, "operation 'RestoreV2' in function __inference__traced_restore"),
      (hide_in_a_second_graph, "operation 'ReadFile'"),
    ):
      with self.subTest(change.__name__):
        self.assert_refused(self.changed(change.__name__, change), words)
    operations.check_operations(self.changed("same", lambda *graphs: None))

  def test_files_beside_the_graph(self):
    for name in operations.OTHER_GRAPHS:
      path = pathlib.Path(shutil.copytree(self.harmless, self.folder / name))
      (path / name).write_bytes(b"")
      self.assert_refused(path, f"{name}: must not exist")
    path = pathlib.Path(shutil.copytree(self.harmless, self.folder / "linked"))
    (path / "assets" / "words.txt").symlink_to("/etc/hostname")
    self.assert_refused(path, "assets/words.txt: must not be a link out of the folder")
    (self.harmless / operations.GRAPH).write_bytes(b"graph")
    self.assert_refused(self.harmless, "saved_model.pb must be a whole SavedModel")

  def test_the_loader_refuses(self):
    path = self.written(write_file, "attack")
    done = subprocess.run(
      [sys.executable, "-c", _LOAD, path], capture_output=True, text=True, check=True
    )
    self.assertIn(f"model_dir={path}: operation 'WriteFile'", done.stdout)

  def test_operations_that_name_files_are_known(self):
    listed = op_def_pb2.OpList.FromString(
      pywrap_tf_session.TF_GetBuffer(pywrap_tf_session.TF_GetAllOpList())
    )
    self.assertGreater(len(listed.op), 1000)
    for one in listed.op:
      arguments = [argument.name for argument in (*one.input_arg, *one.attr)]
      if any(re.search(_NAMES, name) for name in arguments):
        self.assertTrue(operations.touches_files(one.name), f"{one.name}: {arguments}")

  def test_golden_answers(self):
    path = self.folder / manifests.GOLDEN_FILE
    path.parent.mkdir()
    np.savez(path, answer=np.array([print], object))
    with self.assertRaisesRegex(ValueError, "allow_pickle=False"):
      opened._read_golden(path)
    # The size in the list of the archive's contents.
    contents = path.read_bytes()
    at = contents.rindex(b"PK\x01\x02") + 24
    path.write_bytes(contents[:at] + struct.pack("<I", 1 << 31) + contents[at + 4 :])
    with self.assertRaisesRegex(ValueError, "golden.npz: must unpack to at most 1,073,741,824"):
      opened._read_golden(path)
    huge = {"descr": "<f8", "fortran_order": False, "shape": (1 << 50,)}
    with zipfile.ZipFile(path, "w") as archive, archive.open("answer.npy", "w") as file:
      np.lib.format.write_array_header_1_0(file, huge)
    with self.assertRaisesRegex(ValueError, "golden.npz: must hold arrays that fit into memory"):
      opened._read_golden(path)


if __name__ == "__main__":
  tf.test.main()
