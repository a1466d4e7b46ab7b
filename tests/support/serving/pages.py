"""Pages of the demo on free ports of this machine, and models for them."""

import atexit
import contextlib
import functools
import pathlib
import shutil
import tempfile
from collections.abc import Iterator

from tests.support.serving import exports
from wsram_tf import demo, serving
from wsram_tf.classification import PredictionNetwork

__all__ = ["open_page", "reader_of_digits"]


@functools.cache
def reader_of_digits() -> pathlib.Path:
  """An export of the package's weights for digits on 100 x 100; tests only read it."""
  folder = pathlib.Path(tempfile.mkdtemp())
  atexit.register(shutil.rmtree, folder)
  network = PredictionNetwork.from_preset("translated_scaled")
  # Those that the page asks.
  asked = ("classify_bytes", "classify_stepwise", "prior_map", "begin", "look")
  return exports.write(folder, network, signatures=asked)


@contextlib.contextmanager
def open_page(*folders: pathlib.Path, **options) -> Iterator[str]:
  """Serves a page of exports while the block runs; gives its address.

  Args:
    *folders: of the exports.
    **options: of `build_page`.
  """
  models = {
    f"{folder.parent.name}{n}": serving.ExportedModel(folder) for n, folder in enumerate(folders)
  }
  page = demo.build_page(models, **options)
  address = demo.launch(page, port=0, wait=False)
  try:
    yield address
  finally:
    page.close(verbose=False)
