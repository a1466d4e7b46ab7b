"""Writes the exports of the soak: small models of every kind, two versions of each.

  python -m tests.soaking.write_models FOLDER

The soak runs this in a process of its own, because it must not import TensorFlow itself.
"""

import pathlib
import sys
import tempfile

from tests.export import test_captioner
from tests.support.serving import exports
from wsram_tf.classification import GlimpseConfig, LocationConfig
from wsram_tf.export import export_captioner, export_classifier

_SIZES = (1, 64)
_CLASSIFIERS = {
  "digits": {"units": 24, "num_glimpses": 3},
  # Its `look` takes the low-resolution copy again, and its answers name scales and classes.
  "scales": {
    "height": 30,
    "width": 32,
    "channels": 3,
    "num_classes": 3,
    "units": 16,
    "num_glimpses": 3,
    "cell": "gru",
    "glimpse": GlimpseConfig(glimpse_side=6, glimpse_scales=3, choose_scale=True),
    "location": LocationConfig("keyed_grid", no_return=True),
  },
}


def write_models(folder: pathlib.Path) -> None:
  """Writes two classifiers and two captioners, of which one takes images of any size."""
  for version in (1, 2):
    for name, config in _CLASSIFIERS.items():
      network = exports.make_network(seed=version, **config)
      names = ["cat", "dog", "größe"] if name == "scales" else []
      export_classifier(
        network, folder, name, allowed_batch_sizes=_SIZES, class_names=names, verify=False
      )
    with tempfile.TemporaryDirectory() as runs:
      photos, scenes = pathlib.Path(runs) / "photos", pathlib.Path(runs) / "scenes"
      units = {"units": 16 * version}  # Other weights of the same contract.
      test_captioner.make_run(photos, test_captioner.make_backbone(), **units)
      shape = {"height": 16, "width": 12, "channels": 1, "grid_filters": (4,)}
      test_captioner.make_run(scenes, **shape, **units)
      for run in (photos, scenes):
        export_captioner(run, folder, run.name, allowed_batch_sizes=_SIZES, verify=False)


if __name__ == "__main__":
  write_models(pathlib.Path(sys.argv[1]))
