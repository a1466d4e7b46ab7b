"""Checks the glimpses that a client takes one by one, in a process that has the image."""

import numpy as np

from wsram_tf.serving import examples, looking, manifests
from wsram_tf.serving.verification.agreement import Answer, compare
from wsram_tf.serving.verification.opened import ROW_TOLERANCE, OpenedExport

__all__ = ["check_steps"]


def check_steps(opened: OpenedExport) -> str:
  """Checks that `begin` and N times `look` answer as `serving_default`."""
  facts, model = opened.manifest.facts, opened.model
  if "begin" not in model.signatures or not isinstance(facts, manifests.ClassifierFacts):
    return "no signature takes single glimpses"
  images = examples.to_float(examples.example_images(*facts.image_shape))
  expected = model.run("serving_default", {"images": images})
  source = looking.PixelSource(images, facts.glimpse_side, facts.glimpse_scales)
  looked = looking.look_around(model, _FollowingSource(source, expected))
  found = compare("look", looked.answer, expected, ROW_TOLERANCE, where=" after all glimpses")
  sent, received = (
    f"{count / len(images) / 1e3:.1f} kB" for count in (looked.bytes_sent, looked.bytes_received)
  )
  return (
    f"begin and {facts.num_glimpses} times look: largest difference {found.gap:.1e}; {sent} sent "
    f"and {received} received an image"
  )


class _FollowingSource:
  """Cuts patches where `serving_default` looked.

  The answered location may differ by rounding, which at the border of two pixels would move the
  patch. The comparison of the answers covers the location itself.
  """

  def __init__(self, source: looking.ImageSource, expected: Answer):
    self._source, self._expected, self._taken = source, expected, 0
    self.low_resolution = source.low_resolution

  def patches(self, locations: np.ndarray, scales: np.ndarray | None) -> np.ndarray:
    """See `ImageSource`."""
    at, self._taken = self._taken, self._taken + 1
    if scales is not None:
      scales = self._expected["scales"][:, at]
    return self._source.patches(self._expected["locations"][:, at], scales)
