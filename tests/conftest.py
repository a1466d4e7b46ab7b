"""Runs the longest tests first, with one thread a process and quick compilation."""

import gc
import os
import signal

# The workers and the programs that they start share the cores: more threads wait for each other.
for _name in ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"):
  os.environ.setdefault(_name, "1")
# LLVM's optimizations take longer than the few updates that they speed up here.
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0")

# A shell starts programs in the background with SIGINT ignored, and so would the programs that the
# tests start and interrupt.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
  signal.signal(signal.SIGINT, signal.default_int_handler)

# The garbage collector pauses while the modules load, and leaves their objects alone from then on.
gc.disable()


def pytest_collection_modifyitems(items):
  longest = {"cli", "docs", "runs", "test_examples.py"}
  items.sort(key=lambda item: not longest & set(item.path.parts))


def pytest_collection_finish():
  gc.freeze()
  gc.enable()


def pytest_unconfigure():
  gc.freeze()
