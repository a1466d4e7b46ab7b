"""The checks that an export must pass, made through TensorFlow's C++ loader alone.

Neither TensorFlow's Python package nor this one is imported: an export that only Python can read
fails. verify.py prints what they find.
"""

import contextlib
import os
import pathlib
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from typing import NamedTuple

import cpp_loader
import examples
import manifests
import numpy as np
import protos
import wrong_inputs
from answers import Agreement, Answer, Failure, compare

__all__ = ["Check", "Verification"]

# What the checks hold an export to.
LARGEST_GRAPH_BYTES = 1_000_000
LARGEST_GRAPH_BYTES_A_GLIMPSE = LARGEST_GRAPH_BYTES // 8  # Each glimpse has its own operations.
LARGEST_WEIGHT_RATIO = 1.05
CHECKPOINT_BYTES = 4 << 10  # Of a checkpoint's own; they count only beside very few weights.
LARGEST_PEAK_GROWTH_MB = 50
GOLDEN_TOLERANCE = 1e-4
ROW_TOLERANCE = 1e-5
BATCH_SIZES = (0, 1, 3, 64, 1000)
LARGEST_BATCH_BYTES = 1 << 30
# What a backbone holds at once, in images of the size that it takes.
BACKBONE_IMAGES = 16
# Of the example rows, how many a search may leave at a tie.
LARGEST_TIED_ROWS = 1


class Check(NamedTuple):
  """One line of the table.

  Attributes:
    name: of the check.
    passed: whether the export does.
    detail: what was found, in one line.
  """

  name: str
  passed: bool
  detail: str


class Verification:
  """The checks of one export, in order; each looks at what the ones before it loaded.

  Args:
    model_dir: folder of the version.
  """

  def __init__(self, model_dir: str | os.PathLike):
    self.model_dir = pathlib.Path(model_dir).resolve()

  def run(self) -> Iterator[Check]:
    """Yields the checks as they are done."""
    checks: list[tuple[str, Callable[[], str]]] = [
      ("files", self.check_files),
      ("contract", self.check_contract),
      ("size", self.check_size),
      ("load", self.load),
      ("large image", self.check_large_image),
      ("warm-up", self.check_warmup),
      ("golden answers", self.check_golden),
      ("rows", self.check_rows),
      ("seeds", self.check_seeds),
      ("refusals", self.check_refusals),
      ("imports", self.check_imports),
    ]
    for name, check in checks:
      try:
        yield Check(name, True, check())
      except Failure as failure:
        yield Check(name, False, str(failure))
      except AttributeError:
        yield Check(name, False, "not done: it needs what an earlier check could not load")
      except (OSError, ValueError, KeyError, zipfile.BadZipFile, cpp_loader.ServingError) as error:
        yield Check(name, False, f"{type(error).__name__}: {_one_line(error)}")

  def check_files(self) -> str:
    """Every file is as it was exported, and the version is the one that was recorded."""
    self.manifest = manifest = manifests.read_manifest(self.model_dir)
    if self.model_dir.name != str(manifest.version):
      raise Failure(f"the folder must be named {manifest.version}, as the version that it holds")
    digests = manifests.file_digests(self.model_dir)
    changed = sorted(
      path
      for path in digests.keys() | manifest.files.keys()
      if digests.get(path) != manifest.files.get(path)
    )
    if changed:
      raise Failure(f"changed, added or removed since the export: {', '.join(changed)}")
    recorded = manifests.read_versions(self.model_dir.parent)
    if not recorded:
      return f"{len(digests)} files as exported; no record of versions beside them"
    if recorded.get(manifest.version) != manifests.manifest_digest(self.model_dir):
      raise Failure(f"version {manifest.version} was written over: versions.json records another")
    return f"{len(digests)} files as exported, version {manifest.version} as recorded"

  def check_contract(self) -> str:
    """The signatures are those that the export recorded, in a form that servers can batch."""
    graph = (self.model_dir / "saved_model.pb").read_bytes()
    signatures = protos.saved_model_signatures(graph)
    changes = manifests.contract_changes(self.manifest.contract, manifests.contract_of(signatures))
    if changes:
      raise Failure("; ".join(changes))
    if "serving_default" not in signatures:
      raise Failure("signature serving_default is missing")
    for name, signature in signatures.items():
      for key, info in (*signature.inputs.items(), *signature.outputs.items()):
        if not info.shape or info.shape[0] != -1 or -1 in info.shape[1:]:
          raise Failure(f"{name}.{key}: must be open in its first axis alone; it is {info}")
        if key in signature.inputs and (info.dtype == "string") != key.endswith("_bytes"):
          raise Failure(f"{name}.{key}: bytes, and they alone, need a name that ends in _bytes")
    for version in manifests.version_numbers(self.model_dir.parent):
      other = self.model_dir.parent / str(version) / "saved_model.pb"
      if other.is_file():
        contract = manifests.contract_of(protos.saved_model_signatures(other.read_bytes()))
        changes = manifests.contract_changes(contract, self.manifest.contract)
        if changes:
          raise Failure(f"differs from version {version}: {'; '.join(changes)}")
    return f"{', '.join(signatures)}"

  def check_size(self) -> str:
    """The weights are stored once, and the graph is small."""
    graph = (self.model_dir / "saved_model.pb").stat().st_size
    glimpses = self.manifest.num_glimpses
    largest = max(LARGEST_GRAPH_BYTES, glimpses * LARGEST_GRAPH_BYTES_A_GLIMPSE)
    if self.manifest.feature_shape:  # A backbone has operations of its own.
      largest += LARGEST_GRAPH_BYTES
    variables = sum(path.stat().st_size for path in (self.model_dir / "variables").iterdir())
    weights = self.manifest.weight_bytes
    ratio = variables / max(weights, 1)
    text = f"graph {graph / 1e6:.2f} MB, variables {ratio:.3f} times their weights"
    largest_variables = max(LARGEST_WEIGHT_RATIO * weights, weights + CHECKPOINT_BYTES)
    if graph > largest or variables > largest_variables:
      raise Failure(f"{text}; at most {largest / 1e6:.2f} MB and {LARGEST_WEIGHT_RATIO}")
    return text

  def load(self) -> str:
    """The C++ loader takes it."""
    start = time.perf_counter()
    self.model = cpp_loader.LoadedModel(self.model_dir)
    manifest = self.manifest
    self.images = examples.example_images(*manifest.image_shape)
    with np.load(self.model_dir / manifests.GOLDEN_FILE) as golden:
      self.golden = dict(golden)
    jpeg = self.golden.pop("jpeg", None)
    self.jpeg = None if jpeg is None else jpeg.tobytes()
    self.requests = examples.example_requests(
      {name: signature.inputs for name, signature in self.model.signatures.items()},
      self.images,
      self.jpeg,
      any_size=manifest.largest_pixels is not None,
      feature_shape=manifest.feature_shape,
    )
    return f"{time.perf_counter() - start:.1f} s, XLA disabled"

  def check_large_image(self) -> str:
    """A small file of very many pixels is refused before they are decoded."""
    if self.jpeg is None:
      return "no signature takes files"
    signature = next(name for name, inputs in self.requests.items() if "image_bytes" in inputs)
    self.model.run(signature, self.requests[signature])  # Its own memory, first.
    found = []
    for wrong in wrong_inputs.large_files(self.jpeg, self.manifest.largest_pixels is not None):
      _reset_peak_memory()
      before = _peak_memory_bytes()
      self._expect_refusal(signature, "image_bytes", wrong)
      growth = (_peak_memory_bytes() - before) / 1e6
      kilobytes = len(wrong.value[0]) / 1e3
      found.append(f"a file of {kilobytes:.0f} kB: peak memory +{growth:.1f} MB")
      if growth > LARGEST_PEAK_GROWTH_MB:
        raise Failure(f"{found[-1]}; at most {LARGEST_PEAK_GROWTH_MB} MB")
    side = wrong_inputs.LARGE_SIDE
    return f"{side} x {side} pixels, {', '.join(found)}"

  def check_warmup(self) -> str:
    """The warm-up requests run, as the server replays them."""
    records = protos.read_records(self.model_dir / manifests.WARMUP_FILE)
    covered = set()
    for record in records:
      name, signature, inputs = protos.read_prediction_log(record)
      if name != self.manifest.name:
        raise Failure(f"a request is for model {name!r}, not {self.manifest.name!r}")
      self.model.run(signature, inputs)
      covered.add((signature, len(next(iter(inputs.values())))))
    sizes = self.manifest.allowed_batch_sizes
    missing = {(name, size) for name in self.model.signatures for size in sizes} - covered
    if missing or len(records) > manifests.LARGEST_WARMUP_COUNT:
      largest = manifests.LARGEST_WARMUP_COUNT
      raise Failure(f"{len(records)} requests, at most {largest}; not covered: {sorted(missing)}")
    return f"{len(records)} requests: each signature at {', '.join(map(str, sizes))} images"

  def check_golden(self) -> str:
    """The answers equal those that Python gave at the export."""
    worst, tied = 0.0, 0
    for signature, inputs in self.requests.items():
      expected = {
        name: self.golden[f"{signature}/{name}"]
        for name in self.model.signatures[signature].outputs
      }
      answer = self.model.run(signature, inputs)
      found = self._compare(signature, answer, expected, GOLDEN_TOLERANCE)
      worst, tied = max(worst, found.gap), tied + self._count_ties(signature, found.tied)
    return f"{len(self.golden)} outputs, largest difference {worst:.1e}{_ties(tied)}"

  def check_rows(self) -> str:
    """A row's answer is its own, whatever batch it comes in."""
    row_bytes = self.images[0].size * 4
    if self.manifest.feature_shape:
      row_bytes *= BACKBONE_IMAGES
    sizes = [size for size in BATCH_SIZES if size * row_bytes <= LARGEST_BATCH_BYTES]
    worst, ties = 0.0, 0
    for signature, inputs in self.requests.items():
      whole = self.model.run(signature, inputs)
      num_rows = len(next(iter(inputs.values())))
      tied = np.zeros(num_rows, bool)
      for size in sizes:
        # Regrouped, and beyond the rows at hand padded with copies, as a server pads.
        rows = np.arange(size)[::-1] * 5 % num_rows
        part = self.model.run(signature, {key: value[rows] for key, value in inputs.items()})
        expected = {name: output[rows] for name, output in whole.items()}
        where = f" in a batch of {size}"
        found = self._compare(signature, part, expected, ROW_TOLERANCE, where)
        worst = max(worst, found.gap)
        tied[rows[found.tied]] = True
      ties += self._count_ties(signature, tied)
    batches = ", ".join(map(str, sizes))
    return f"batches of {batches}: largest difference {worst:.1e}{_ties(ties)}"

  def check_seeds(self) -> str:
    """A seed decides a row's samples: the same after a reload, others with another seed."""
    seeded = [name for name, ends in self.model.signatures.items() if "seed" in ends.inputs]
    if not seeded:
      return "no signature samples"
    reloaded = cpp_loader.LoadedModel(self.model_dir)
    for signature in seeded:
      inputs = self.requests[signature]
      first = self.model.run(signature, inputs)
      again = reloaded.run(signature, inputs)
      self._compare(signature, again, first, ROW_TOLERANCE, " after a reload")
      others = self.model.run(signature, {**inputs, "seed": inputs["seed"] + 1})
      key = "locations" if "locations" in first else "probabilities"
      same = np.flatnonzero((others[key] == first[key]).reshape(len(first[key]), -1).all(axis=1))
      if len(same):
        raise Failure(f"{signature}.{key}: rows {list(same)} ignore their seed")
    reloaded.close()
    return f"{', '.join(seeded)}: the same after a reload, others with another seed"

  def check_refusals(self) -> str:
    """Wrong input is refused with a message that names the input and the rule."""
    count, any_size = 0, self.manifest.largest_pixels is not None
    for signature, right in self.requests.items():
      for key, value in right.items():
        for wrong in wrong_inputs.wrong_inputs(key, value, any_size):
          self._expect_refusal(signature, key, wrong)
          count += 1
    return f"{count} wrong inputs, each INVALID_ARGUMENT by name and rule"

  def _compare(
    self, signature: str, answer: Answer, expected: Answer, tolerance: float, where: str = ""
  ) -> Agreement:
    # Only a search may end otherwise where two captions are equally good.
    length_exponent = getattr(self.manifest, "length_exponent", None)
    return compare(signature, answer, expected, tolerance, length_exponent, where)

  def _count_ties(self, signature: str, tied: np.ndarray) -> int:
    if tied.sum() > LARGEST_TIED_ROWS:
      rows = np.flatnonzero(tied).tolist()
      raise Failure(f"{signature}: rows {rows} differ, which are too many to be ties")
    return int(tied.sum())

  def _expect_refusal(self, signature: str, key: str, wrong: wrong_inputs.WrongInput) -> None:
    where = f"{signature}.{key}, {wrong.what}"
    try:
      self.model.run(signature, {**self.requests[signature], key: wrong.value})
    except cpp_loader.ServingError as error:
      if error.code != "INVALID_ARGUMENT":
        raise Failure(f"{where}: {error.code} instead of INVALID_ARGUMENT") from error
      named = key in error.message or "arg[" in error.message
      if not named or not all(word in error.message for word in wrong.words):
        raise Failure(
          f"{where}: the message must hold {key!r} and {wrong.words}: {_one_line(error)}"
        ) from error
    else:
      raise Failure(f"{where}: answered instead of refused")

  def check_imports(self) -> str:
    """All this was the C++ runtime's doing."""
    imported = sorted({"tensorflow", "keras", "wsram_tf"} & sys.modules.keys())
    if imported:
      raise Failure(f"this process imported {', '.join(imported)}")
    return "neither tensorflow nor wsram_tf was imported"


def _one_line(error: Exception) -> str:
  return " ".join(str(error).split())


def _ties(count: int) -> str:
  return f"; {count} searches ended otherwise at a tie" if count else ""


def _reset_peak_memory() -> None:
  """Lets this process' peak memory start from what it holds now, where the system allows it."""
  with contextlib.suppress(OSError), open("/proc/self/clear_refs", "w") as file:
    file.write("5")


def _peak_memory_bytes() -> int:
  with open("/proc/self/status") as file:
    line = next(line for line in file if line.startswith("VmHWM:"))
  return int(line.split()[1]) * 1024
