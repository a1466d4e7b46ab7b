"""Verifies an export as a model server meets it, and prints a table.

  python -m wsram_tf.serving.verification --model_dir=BASE/NAME/VERSION

Loads the export through TensorFlow's C++ loader, without XLA as in a stock CPU server. The exit
status is 0 if it passes all checks, and 1 otherwise.
"""

import argparse
import json
import os
import pathlib
import signal
import sys
from typing import NoReturn

from wsram_tf.serving import manifests
from wsram_tf.serving.verification.checks import verify_here

__all__ = ["main"]

# Shells report this status for a program that Ctrl-C ended.
_INTERRUPTED = 130


class _Parser(argparse.ArgumentParser):
  """Ends with status 1 at a wrong argument, as the other programs do."""

  def error(self, message: str) -> NoReturn:
    self.exit(1, f"{self.prog}: {message}\nAdd --help for the flags.\n")


def main() -> None:
  """Prints the table and ends the process."""
  program = pathlib.Path(sys.argv[0])
  parser = _Parser(
    prog=program.name if program.name != "__main__.py" else f"python -m {__spec__.parent}",
    description=__doc__,
    formatter_class=argparse.RawDescriptionHelpFormatter,
    allow_abbrev=False,
  )
  parser.add_argument(
    "--model_dir",
    required=True,
    help="folder of a version, EXPORT_DIR/NAME/VERSION, or of a model, EXPORT_DIR/NAME; a model's "
    "newest version is verified",
  )
  parser.add_argument(
    "--json", action="store_true", help="print one JSON object for each check, in place of a table"
  )
  arguments = parser.parse_args()
  given = arguments.model_dir
  model_dir = manifests.version_dir(os.path.expanduser(given))
  if not (model_dir / "saved_model.pb").is_file():
    parser.error(f"--model_dir={given}: must be a folder that holds saved_model.pb")
  try:
    passed = _print_json(model_dir) if arguments.json else _print_table(model_dir)
  except KeyboardInterrupt:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # A second one would interrupt the ending.
    print(f"\n{parser.prog}: stopped", file=sys.stderr, flush=True)
    sys.exit(_INTERRUPTED)
  sys.exit(0 if passed else 1)


def _print_table(model_dir: pathlib.Path) -> bool:
  print(f"{'check':<16} {'result':<6} found")
  passed = True
  for check in verify_here(model_dir):
    print(f"{check.name:<16} {'ok' if check.passed else 'FAILED':<6} {check.detail}", flush=True)
    passed &= check.passed
  print("verified" if passed else "FAILED: do not serve it")
  return passed


def _print_json(model_dir: pathlib.Path) -> bool:
  passed = True
  for check in verify_here(model_dir):
    print(json.dumps(check._asdict()), flush=True)
    passed &= check.passed
  return passed


if __name__ == "__main__":
  main()
