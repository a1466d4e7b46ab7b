"""Checks that an export touches no file but its own, before TensorFlow loads it.

A SavedModel is a program, and some operations of TensorFlow read or write any file, call servers,
or run Python. No export of this package has them.
"""

import os
import pathlib
import re
from collections.abc import Iterator, Mapping
from typing import Any

from wsram_tf import files
from wsram_tf.serving import messages

__all__ = ["check_operations", "touches_files"]

GRAPH = "saved_model.pb"
# The loader of TensorFlow reads these too.
OTHER_GRAPHS = ("saved_model.cpb", "saved_model.pbtxt")
# Parts of names of operations that touch files or servers, or run code that is not in the graph.
_TOUCHING = re.compile(
  "File|Dataset|Iterator|Reader|Record|Lmdb|LMDB|Vocab|Unigram|Skipgram|LoadAndRemap|Proto|TRT"
  "|Save|Restore|Checkpoint|Snapshot|Summary|ImportEvent|Print|Dump|Debug|Calibration|Stats"
  "|PyFunc|XlaCallModule|Custom|Remote|Rpc|Server|Host|Send|Recv|Collective|Nccl|TPU|Gcs|BigQuery"
)
# In the function that saves the weights, which a server never runs.
_SAVING = frozenset(("MergeV2Checkpoints", "SaveV2", "ShardedFilename"))
# A function with one of these may replace another one.
_REPLACING = ("api_implements", "_implements")


def check_operations(model_dir: pathlib.Path) -> None:
  """Checks the graph of an export, and that no link leads out of its folder.

  Args:
    model_dir: folder of the version.

  Raises:
    ValueError: if a file lies elsewhere, or the graph holds an operation that touches files or
      servers, or runs code that is not in the graph.
    OSError: if the graph cannot be read.
  """
  name = f"model_dir={model_dir}"
  files.check_links(model_dir, name)
  for other in OTHER_GRAPHS:
    if os.path.lexists(model_dir / other):
      raise ValueError(f"{name}: {other}: must not exist, the graph is {GRAPH}")
  if not (model_dir / GRAPH).exists():
    return  # The loader says so.
  try:
    saved = messages.SavedModel.FromString((model_dir / GRAPH).read_bytes())
  except messages.DecodeError as error:
    raise ValueError(f"{name}: {GRAPH} must be a whole SavedModel") from error
  for graph in saved.meta_graphs:
    for operation, owner in _touching(graph):
      where = f" in function {owner}" if owner else ""
      raise ValueError(
        f"{name}: operation {operation!r}{where}: must not touch files or servers, or run Python"
      )


def touches_files(operation: str) -> bool:
  """Whether an operation, by its type, touches files or servers or runs code beside the graph.

  Example:

  >>> touches_files("ReadFile"), touches_files("MatMul")
  (True, False)
  """
  return bool(_TOUCHING.search(operation))


def _touching(meta_graph: messages.Message) -> Iterator[tuple[str, str]]:
  """Finds operations that touch files, each with its function, "" outside of functions."""
  graph, saver = meta_graph.graph_def, meta_graph.saver_def
  functions = {one.signature.name: one for one in graph.library.function}
  callers = _callers(graph)
  saves = _function_of(meta_graph, callers, saver.save_tensor_name.partition(":")[0])
  restores = _function_of(meta_graph, callers, saver.restore_op_name)
  for owner, nodes in [("", graph.node), *((name, f.node_def) for name, f in functions.items())]:
    for node in nodes:
      if node.op in functions or not touches_files(node.op):
        continue
      if owner and owner == saves and node.op in _SAVING:
        continue
      if owner and owner == restores and node.op == "RestoreV2":
        # The loader gives it the path of the export's own weights.
        given = {argument.name for argument in functions[owner].signature.input_arg}
        if node.input and node.input[0] in given:
          continue
      yield node.op, owner


def _callers(graph: messages.Message) -> dict[str, list[Any]]:
  """Lists the nodes that may run a function, by its name."""
  found: dict[str, list[Any]] = {}
  for node in (*graph.node, *(one for f in graph.library.function for one in f.node_def)):
    values = list(node.attr.values())
    called = {node.op, *(value.func.name for value in values)}
    for name in called.union(*([one.name for one in value.list.func] for value in values)):
      found.setdefault(name, []).append(node)
  return found


def _function_of(
  meta_graph: messages.Message, callers: Mapping[str, list[Any]], name: str
) -> str | None:
  """Returns the function that one node of the saver alone runs; None where others may run it."""
  graph = meta_graph.graph_def
  node = next((one for one in graph.node if one.name == name), None)
  if node is None or name in _run_by_loader(meta_graph):
    return None
  function = node.attr["f"].func.name
  taken = {re.sub(r"^\^|:\d+$", "", source) for one in graph.node for source in one.input}
  if len(callers[function]) != 1 or name in taken:
    return None
  own = next((one for one in graph.library.function if one.signature.name == function), None)
  return None if own is None or any(key in own.attr for key in _REPLACING) else function


def _run_by_loader(meta_graph: messages.Message) -> set[str]:
  """Names the nodes that signatures and initialisers name."""
  tensors = [
    info.name
    for signature in meta_graph.signature_def.values()
    for ends in (signature.inputs, signature.outputs)
    for info in ends.values()
  ]
  nodes = [name for one in meta_graph.collection_def.values() for name in one.node_list.value]
  return {name.partition(":")[0] for name in (*tensors, *nodes)}
