"""Reads what a run wrote for TensorBoard."""

import pathlib
from typing import Any

import tensorflow as tf

__all__ = ["events_of"]


def events_of(run_dir: pathlib.Path) -> dict[str, dict[int, Any]]:
  """Reads the values of a run's event files, by tag and step."""
  found = {}
  for path in sorted((run_dir / "tensorboard").iterdir()):
    for record in tf.data.TFRecordDataset(str(path)):
      event = tf.compat.v1.Event.FromString(record.numpy())
      for value in event.summary.value:
        found.setdefault(value.tag, {})[event.step] = value
  return found
