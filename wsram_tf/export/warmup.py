"""Writes warm-up requests, which a model server runs before it answers clients.

The first request of a signature and batch size pays for the optimisation of the graph. A server
replays these records while it loads, so no client waits; if one fails, it refuses the version.
"""

import os
from collections.abc import Mapping, Sequence

import numpy as np
import tensorflow as tf

from wsram_tf.serving import examples, protos
from wsram_tf.serving.manifests import LARGEST_WARMUP_COUNT

__all__ = ["write_warmup"]


def write_warmup(
  path: str | os.PathLike,
  name: str,
  signatures: Mapping[str, protos.Signature],
  image_shape: tuple[int, int, int],
  batch_sizes: Sequence[int],
) -> None:
  """Writes a request for each signature and batch size, as TFRecords of `PredictionLog`.

  Args:
    path: of the file.
    name: the model's name.
    signatures: by name.
    image_shape: height, width and channels of an image, pixels.
    batch_sizes: images a request.

  Raises:
    ValueError: if there are more requests than a server reads.
  """
  count = len(signatures) * len(batch_sizes)
  if count > LARGEST_WARMUP_COUNT:
    raise ValueError(
      f"batch_sizes={list(batch_sizes)}: with {len(signatures)} signatures they make {count} "
      f"warm-up requests; a model server reads at most {LARGEST_WARMUP_COUNT}"
    )
  with tf.io.TFRecordWriter(os.fspath(path)) as writer:
    for signature, ends in signatures.items():
      for batch_size in batch_sizes:
        # One value is enough: the format repeats the last one up to the shape.
        tensor_protos = {
          key: protos.tensor_proto(_one_value(info, image_shape), [batch_size, *info.shape[1:]])
          for key, info in ends.inputs.items()
        }
        request = protos.predict_request(name, signature, tensor_protos)
        writer.write(protos.prediction_log(request))


def _one_value(info: protos.TensorInfo, image_shape: tuple[int, int, int]) -> np.ndarray:
  if info.dtype == "string":
    return examples.as_bytes_array([examples.png_bytes(np.zeros(image_shape, np.uint8))])
  return np.zeros([1], info.dtype)
