"""What a further Python or other packages must do: train, resume, evaluate, export, caption.

`python -m pytest -n 2 -m smoke tests` runs it, with the enumeration of the objectives, in about two
minutes; it starts every program as a user does.
"""

import json
import os
import pathlib
import re
import subprocess
import sys

import pytest

from tests import programs, small_runs

pytestmark = pytest.mark.smoke

_FLAGFILES = programs.ROOT / "trainers" / "flagfiles"


def _program(name: str, *arguments: str, cwd: pathlib.Path) -> str:
  # What it prints, started from another folder, as nothing may depend on that.
  done = subprocess.run(
    [sys.executable, str(programs.ROOT / name), *arguments],
    capture_output=True,
    text=True,
    cwd=cwd,
    env={**os.environ, "TF_NUM_INTRAOP_THREADS": "1"},  # The tests run side by side.
    check=False,
  )
  assert done.returncode == 0, done.stderr[-4000:]
  return done.stdout


def _figures(run_dir: pathlib.Path) -> dict:
  # The results but for the times.
  results = json.loads((run_dir / "results.json").read_text())
  return {name: value for name, value in results.items() if "second" not in name}


def test_a_training_is_resumed_evaluated_and_exported(tmp_path):
  run_dir, export_dir = tmp_path / "run", tmp_path / "models"
  flagfile = f"--flagfile={_FLAGFILES / 'quickstart.flags'}"
  arguments = (flagfile, *small_runs.CANVASES, f"--run_dir={run_dir}")
  _program("trainers/train_mnist.py", *arguments, cwd=tmp_path)
  figures = _figures(run_dir)
  assert figures["updates"] == 2
  # As though it had been stopped after its first evaluation.
  for name in ("results.json", "model.keras", "checkpoints/update-00000002.keras"):
    (run_dir / name).unlink()
  arguments = (f"--flagfile={run_dir / 'flags.flags'}", f"--run_dir={run_dir}", "--resume")
  _program("trainers/train_mnist.py", *arguments, cwd=tmp_path)
  assert _figures(run_dir) == figures
  # Loads model.keras in a fresh process, as the export does.
  said = _program("trainers/evaluate_mnist.py", f"--run_dir={run_dir}", cwd=tmp_path)
  error = json.loads(said)["test_error_percent"]
  assert error == pytest.approx(figures["test_error_percent"])
  arguments = (f"--run_dir={run_dir}", f"--export_dir={export_dir}", "--name=small")
  said = _program("export/export_classifier.py", *arguments, cwd=tmp_path)
  assert re.search(r"refusals +ok", said)
  model_dir = f"--model_dir={export_dir / 'small' / '1'}"
  assert _program("export/verify.py", model_dir, cwd=tmp_path).endswith("\nverified\n")


def test_captions_train(tmp_path):
  run_dir = tmp_path / "run"
  flagfile = f"--flagfile={_FLAGFILES / 'scenes.flags'}"
  arguments = (flagfile, *small_runs.SCENES, f"--run_dir={run_dir}")
  _program("trainers/train_captions.py", *arguments, cwd=tmp_path)
  assert "test_word_error_percent" in _figures(run_dir)
