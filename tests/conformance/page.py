"""Visits a page of the demo from many clients at once, and watches its answers and its memory.

  python -m tests.conformance.page --visitors=20 --requests=2000

The page runs in a process of its own, with a model that reads digits on 100 x 100 pixels. Each
visitor uploads pictures and compares every answer with the export's own. Prints the resident memory
of the page's process after each tenth of the requests.
"""

import itertools
import logging
import pathlib
import re
import subprocess
import sys
import tempfile
import threading
import time
from concurrent import futures

import gradio_client
import numpy as np
import PIL.Image
from absl import app, flags

from tests.support.programs import ROOT
from tests.support.serving import pages
from wsram_tf import serving

_VISITORS = flags.DEFINE_integer("visitors", 20, "clients at once", lower_bound=1)
_REQUESTS = flags.DEFINE_integer("requests", 2000, "of all visitors together", lower_bound=10)
_LARGEST_GROWTH = flags.DEFINE_float(
  "largest_growth", 30.0, "of the memory in the second half of the requests, MB"
)
_NUM_PICTURES = 50


def write_pictures(folder: pathlib.Path) -> list[pathlib.Path]:
  """Writes noisy pictures with a bright bar, each different."""
  generator = np.random.default_rng(1)
  paths = []
  for number in range(_NUM_PICTURES):
    pixels = generator.integers(0, 40, [100, 100], np.uint8)
    top, left = generator.integers(10, 60, 2)
    pixels[top : top + 30, left : left + 6] = 255
    paths.append(folder / f"{number}.png")
    PIL.Image.fromarray(pixels).save(paths[-1])
  return paths


def expected_answers(version: pathlib.Path, paths: list[pathlib.Path]) -> list[str]:
  """The start of each answer on the page."""
  answer = serving.ExportedModel(version).ask([path.read_bytes() for path in paths])
  sure = answer["probabilities"].max(axis=-1)
  pairs = zip(answer["class_id"], sure, strict=True)
  return [f"<strong>{label}</strong> ({100 * probability:.1f} %)" for label, probability in pairs]


def resident_megabytes(process: subprocess.Popen) -> float:
  """The resident memory of a process."""
  status = pathlib.Path(f"/proc/{process.pid}/status").read_text()
  return int(re.search(r"VmRSS:\s+(\d+)", status).group(1)) / 1e3


def visit(version: pathlib.Path, folder: pathlib.Path, process: subprocess.Popen, address: str):
  """Makes all visits; prints what came out.

  Raises:
    SystemExit: if an answer is wrong or the memory grows.
  """
  paths = write_pictures(folder)
  expected = expected_answers(version, paths)
  count, lock = itertools.count(), threading.Lock()
  seconds, wrong, memory = [], [], []

  def be_a_visitor(_):
    client = gradio_client.Client(
      address, verbose=False, analytics_enabled=False, download_files=False
    )
    while True:
      with lock:
        number = next(count)
        if number % (_REQUESTS.value // 10) == 0:
          memory.append(resident_megabytes(process))
      if number >= _REQUESTS.value:
        return
      picture = number % _NUM_PICTURES
      file = gradio_client.handle_file(paths[picture])
      began = time.perf_counter()
      answer = client.predict(file, False, api_name="/look")
      seconds.append(time.perf_counter() - began)
      if expected[picture] not in answer:
        wrong.append(picture)

  began = time.perf_counter()
  with futures.ThreadPoolExecutor(_VISITORS.value) as pool:
    list(pool.map(be_a_visitor, range(_VISITORS.value)))
  memory.append(resident_megabytes(process))
  took = time.perf_counter() - began
  print(
    f"{len(seconds)} answers to {_VISITORS.value} visitors in {took:.0f} s, {len(wrong)} wrong; "
    f"p50 {np.percentile(seconds, 50):.2f} s, p99 {np.percentile(seconds, 99):.2f} s"
  )
  tenths = " ".join(f"{one:.0f}" for one in memory)
  print(f"memory of the page after each tenth of the requests, MB: {tenths}", flush=True)
  if wrong or memory[-1] - memory[5] > _LARGEST_GROWTH.value:
    sys.exit(
      "FAILED: no answer may be wrong, and the memory of the second half may grow by at most "
      f"{_LARGEST_GROWTH.value:g} MB"
    )


def main(_) -> None:
  """Starts the page, visits it and ends it."""
  logging.getLogger("httpx").setLevel(logging.WARNING)  # It logs each request.
  version = pages.reader_of_digits()
  command = [sys.executable, ROOT / "export/demo.py", f"--model_dir={version}", "--port=0"]
  with tempfile.TemporaryDirectory() as folder:
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
      line = process.stdout.readline()
      visit(version, pathlib.Path(folder), process, re.search(r"http\S+/", line).group())
    finally:
      process.terminate()
      process.wait()
  print("PASSED")


if __name__ == "__main__":
  app.run(main)
