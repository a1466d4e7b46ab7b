"""Runs the longest tests first, and gives each process of TensorFlow one thread."""

import os

# The workers and the programs that they start share the cores: more threads wait for each other.
for _name in ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"):
  os.environ.setdefault(_name, "1")


def pytest_collection_modifyitems(items):
  items.sort(key=lambda item: not {"cli", "docs", "runs"} & set(item.path.parts))
