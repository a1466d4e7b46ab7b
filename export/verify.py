"""Checks an export the way a model server would meet it, and prints a table.

  python export/verify.py --model_dir=BASE/NAME/VERSION

Loads it through TensorFlow's C++ loader, without XLA as in a stock CPU server.
"""

import sys

import manifests
import starting
from absl import flags
from verification import Verification

_MODEL_DIR = starting.define_path(
  "model_dir",
  "folder of a version, EXPORT_DIR/NAME/VERSION, or of a model, EXPORT_DIR/NAME, whose newest "
  "version is taken",
  required=True,
)
flags.register_validator(
  "model_dir",
  lambda path: not path or (manifests.version_dir(path) / "saved_model.pb").is_file(),
  message="must be a folder that holds saved_model.pb",
)


def main(_) -> None:
  """Prints the table; the exit status is 1 if a check failed."""
  print(f"{'check':<16} {'result':<6} found")
  passed = True
  for check in Verification(manifests.version_dir(_MODEL_DIR.value)).run():
    print(f"{check.name:<16} {'ok' if check.passed else 'FAILED':<6} {check.detail}", flush=True)
    passed &= check.passed
  print("verified" if passed else "FAILED: do not serve it")
  sys.exit(0 if passed else 1)


if __name__ == "__main__":
  starting.run(main)
