"""Checks of an export that TensorFlow's C++ loader has loaded: its answers and its refusals."""

import contextlib
import dataclasses
import pathlib
import zipfile
from collections.abc import Mapping

import numpy as np

from wsram_tf.serving import cpp_loader, examples, manifests, protos
from wsram_tf.serving.verification import wrong_inputs
from wsram_tf.serving.verification.agreement import Agreement, Answer, Failure, compare

__all__ = [
  "OpenedExport",
  "check_golden",
  "check_large_image",
  "check_refusals",
  "check_rows",
  "check_seeds",
  "check_warmup",
  "one_line",
  "open_export",
]

LARGEST_PEAK_GROWTH_MB = 50
LARGEST_GOLDEN_BYTES = 1 << 30
GOLDEN_TOLERANCE = 1e-4
ROW_TOLERANCE = 1e-5
BATCH_SIZES = (0, 1, 3, 64, 1000)
LARGEST_BATCH_BYTES = 1 << 30
# Peak memory of a backbone, in images of the size that it takes.
BACKBONE_IMAGES = 16
# Example rows that a search may leave at a tie.
LARGEST_TIED_ROWS = 1


@dataclasses.dataclass(frozen=True)
class OpenedExport:
  """An export that the C++ loader has loaded, and the requests to check it with.

  Attributes:
    model_dir: folder of the version.
    manifest: its record.
    model: the loaded export.
    golden: the answers of Python at the export, by `signature/output`.
    jpeg: the JPEG file of the example requests; None where no signature takes files.
    requests: the example requests: arrays by signature and input name.
  """

  model_dir: pathlib.Path
  manifest: manifests.Manifest
  model: cpp_loader.LoadedModel
  golden: Mapping[str, np.ndarray]
  jpeg: bytes | None
  requests: Mapping[str, Mapping[str, np.ndarray]]

  @property
  def takes_any_size(self) -> bool:
    """Whether image files may have any size."""
    return self.manifest.facts.largest_pixels is not None


def open_export(model_dir: pathlib.Path, manifest: manifests.Manifest) -> OpenedExport:
  """Loads an export and makes its example requests.

  Args:
    model_dir: folder of the version.
    manifest: its record.

  Raises:
    ServingError: if the loader refuses the export.
    ValueError: if the graph touches other files.
    OSError, ValueError, zipfile.BadZipFile: if the golden answers cannot be read.
  """
  facts = manifest.facts
  golden = _read_golden(model_dir / manifests.GOLDEN_FILE)
  jpeg = golden.pop("jpeg", None)
  jpeg = None if jpeg is None else jpeg.tobytes()
  model = cpp_loader.LoadedModel(model_dir)
  images = examples.example_images(*facts.image_shape)
  requests = examples.example_requests(model.signatures, facts, images, jpeg)
  return OpenedExport(model_dir, manifest, model, golden, jpeg, requests)


def _read_golden(path: pathlib.Path) -> dict[str, np.ndarray]:
  with zipfile.ZipFile(path) as archive:
    size = sum(info.file_size for info in archive.infolist())
  if size > LARGEST_GOLDEN_BYTES:
    raise ValueError(
      f"{path.name}: must unpack to at most {LARGEST_GOLDEN_BYTES:,} bytes, and says {size:,}"
    )
  try:
    with np.load(path, allow_pickle=False) as stored:
      return dict(stored)
  except MemoryError as error:  # The header of an array may name any shape.
    raise ValueError(f"{path.name}: must hold arrays that fit into memory") from error


def check_large_image(opened: OpenedExport) -> str:
  """Checks that the export refuses a small file of very many pixels before it decodes them."""
  if opened.jpeg is None:
    return "no signature takes files"
  signature = next(name for name, inputs in opened.requests.items() if "image_bytes" in inputs)
  opened.model.run(signature, opened.requests[signature])  # Takes the model's own memory first.
  found = []
  for wrong in wrong_inputs.large_files(opened.jpeg, opened.takes_any_size):
    _reset_peak_memory()
    before = _peak_memory_bytes()
    _expect_refusal(opened, signature, "image_bytes", wrong)
    growth = (_peak_memory_bytes() - before) / 1e6
    kilobytes = len(wrong.value[0]) / 1e3
    found.append(f"a file of {kilobytes:.0f} kB: peak memory +{growth:.1f} MB")
    if growth > LARGEST_PEAK_GROWTH_MB:
      raise Failure(f"{found[-1]}; at most {LARGEST_PEAK_GROWTH_MB} MB")
  side = wrong_inputs.LARGE_SIDE
  return f"{side} x {side} pixels, {', '.join(found)}"


def check_warmup(opened: OpenedExport) -> str:
  """Checks that the warm-up requests run, as the server replays them, and cover all sizes."""
  facts = opened.manifest.facts
  records = protos.read_records(opened.model_dir / manifests.WARMUP_FILE)
  covered = set()
  for record in records:
    name, signature, inputs = protos.read_prediction_log(record)
    if name != facts.name:
      raise Failure(f"a request is for model {name!r}, not {facts.name!r}")
    opened.model.run(signature, inputs)
    covered.add((signature, len(next(iter(inputs.values())))))
  sizes = facts.allowed_batch_sizes
  missing = {(name, size) for name in opened.model.signatures for size in sizes} - covered
  if missing or len(records) > manifests.LARGEST_WARMUP_COUNT:
    largest = manifests.LARGEST_WARMUP_COUNT
    raise Failure(f"{len(records)} requests, at most {largest}; not covered: {sorted(missing)}")
  return f"{len(records)} requests: each signature at {', '.join(map(str, sizes))} images"


def check_golden(opened: OpenedExport) -> str:
  """Checks that the answers equal those of Python at the export."""
  worst, tied = 0.0, 0
  for signature, inputs in opened.requests.items():
    expected = {
      name: opened.golden[f"{signature}/{name}"]
      for name in opened.model.signatures[signature].outputs
    }
    answer = opened.model.run(signature, inputs)
    found = _compare(opened, signature, answer, expected, GOLDEN_TOLERANCE)
    worst, tied = max(worst, found.gap), tied + _count_ties(signature, found.tied)
  return f"{len(opened.golden)} outputs, largest difference {worst:.1e}{_ties(tied)}"


def check_rows(opened: OpenedExport) -> str:
  """Checks that a row's answer does not depend on its batch."""
  facts = opened.manifest.facts
  row_bytes = int(np.prod(facts.image_shape)) * 4
  if facts.feature_shape:
    row_bytes *= BACKBONE_IMAGES
  sizes = [size for size in BATCH_SIZES if size * row_bytes <= LARGEST_BATCH_BYTES]
  worst, ties = 0.0, 0
  for signature, inputs in opened.requests.items():
    whole = opened.model.run(signature, inputs)
    num_rows = len(next(iter(inputs.values())))
    tied = np.zeros(num_rows, bool)
    for size in sizes:
      # In another order, and padded with copies beyond the rows at hand, as a server pads.
      rows = np.arange(size)[::-1] * 5 % num_rows
      part = opened.model.run(signature, {key: value[rows] for key, value in inputs.items()})
      expected = {name: output[rows] for name, output in whole.items()}
      where = f" in a batch of {size}"
      found = _compare(opened, signature, part, expected, ROW_TOLERANCE, where)
      worst = max(worst, found.gap)
      tied[rows[found.tied]] = True
    ties += _count_ties(signature, tied)
  batches = ", ".join(map(str, sizes))
  return f"batches of {batches}: largest difference {worst:.1e}{_ties(ties)}"


def check_seeds(opened: OpenedExport) -> str:
  """Checks that the seed alone decides a row's samples: equal after a reload, or else different."""
  seeded = [name for name, ends in opened.model.signatures.items() if "seed" in ends.inputs]
  if not seeded:
    return "no signature samples"
  with cpp_loader.LoadedModel(opened.model_dir) as reloaded:
    for signature in seeded:
      inputs = opened.requests[signature]
      first = opened.model.run(signature, inputs)
      again = reloaded.run(signature, inputs)
      _compare(opened, signature, again, first, ROW_TOLERANCE, " after a reload")
      others = opened.model.run(signature, {**inputs, "seed": inputs["seed"] + 1})
      key = "locations" if "locations" in first else "probabilities"
      same = np.flatnonzero((others[key] == first[key]).reshape(len(first[key]), -1).all(axis=1))
      if len(same):
        raise Failure(f"{signature}.{key}: rows {list(same)} ignore their seed")
  return f"{', '.join(seeded)}: the same after a reload, others with another seed"


def check_refusals(opened: OpenedExport) -> str:
  """Checks that the export refuses wrong input with a message that names the input and the rule."""
  count = 0
  for signature, right in opened.requests.items():
    for key, value in right.items():
      facts, alone = opened.manifest.facts, len(right) == 1
      for wrong in wrong_inputs.wrong_inputs(key, value, facts, alone=alone):
        _expect_refusal(opened, signature, key, wrong)
        count += 1
  return f"{count} wrong inputs, each INVALID_ARGUMENT by name and rule"


def one_line(error: Exception) -> str:
  """Joins the lines of an error's message."""
  return " ".join(str(error).split())


def _compare(
  opened: OpenedExport,
  signature: str,
  answer: Answer,
  expected: Answer,
  tolerance: float,
  where: str = "",
) -> Agreement:
  # Only a search may end differently, where two captions are equally good.
  facts = opened.manifest.facts
  length_exponent = getattr(facts, "length_exponent", None)
  averaged_samples = getattr(facts, "averaged_samples", 0)
  return compare(signature, answer, expected, tolerance, length_exponent, averaged_samples, where)


def _count_ties(signature: str, tied: np.ndarray) -> int:
  if tied.sum() > LARGEST_TIED_ROWS:
    rows = np.flatnonzero(tied).tolist()
    raise Failure(f"{signature}: rows {rows} differ, which are too many to be ties")
  return int(tied.sum())


def _expect_refusal(
  opened: OpenedExport, signature: str, key: str, wrong: wrong_inputs.WrongInput
) -> None:
  where = f"{signature}.{key}, {wrong.what}"
  try:
    opened.model.run(signature, {**opened.requests[signature], key: wrong.value})
  except cpp_loader.ServingError as error:
    if error.code != "INVALID_ARGUMENT":
      raise Failure(f"{where}: {error.code} instead of INVALID_ARGUMENT") from error
    named = key in error.message or "arg[" in error.message
    if not named or not all(word in error.message for word in wrong.words):
      raise Failure(
        f"{where}: the message must hold {key!r} and {wrong.words}: {one_line(error)}"
      ) from error
  else:
    raise Failure(f"{where}: answered instead of refused")


def _ties(count: int) -> str:
  return f"; {count} searches ended otherwise at a tie" if count else ""


def _reset_peak_memory() -> None:
  """Resets this process' peak memory to its current one, where the system allows it."""
  with contextlib.suppress(OSError), open("/proc/self/clear_refs", "w") as file:
    file.write("5")


def _peak_memory_bytes() -> int:
  with open("/proc/self/status") as file:
    line = next(line for line in file if line.startswith("VmHWM:"))
  return int(line.split()[1]) * 1024
