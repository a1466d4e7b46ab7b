"""Builds the wheel, installs it into an empty environment, and runs its programs there.

  python -m tests.conformance.wheel

The programs run in a folder of their own, far from the checkout. Needs a package index, minutes,
and what the extra `tests` installs.
"""

import os
import pathlib
import subprocess
import sys
import tempfile
import time

_ROOT = pathlib.Path(__file__).resolve().parents[2]
_SMALL = ["--updates=20", "--validation_canvases=500", "--test_canvases=500"]
_VERSION = "import wsram_tf; print(wsram_tf.__file__, wsram_tf.__version__)"
_DIGIT = """
import pathlib
from wsram_tf.serving import manifests
version = manifests.version_dir("models/digits")
pathlib.Path("digit.png").write_bytes((version / "assets.extra/example.png").read_bytes())
"""


def run(what: str, command: list[str | os.PathLike], folder: pathlib.Path) -> None:
  """Runs a command; an error ends the program, with what the command printed."""
  began = time.time()
  environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
  done = subprocess.run(
    command, cwd=folder, env=environment, capture_output=True, text=True, check=False
  )
  lines = done.stdout.strip().splitlines()
  if done.returncode:
    sys.exit(f"{what}: status {done.returncode}\n{done.stdout}\n{done.stderr}")
  print(f"{what:<20}{time.time() - began:>6.0f} s  {lines[-1][:100] if lines else ''}", flush=True)


def main() -> None:
  """Runs all steps."""
  with tempfile.TemporaryDirectory() as name:
    folder = pathlib.Path(name)
    built, programs, work = folder / "built", folder / "environment" / "bin", folder / "work"
    work.mkdir()
    run("build", [sys.executable, "-m", "build", f"--outdir={built}", _ROOT], folder)
    run("environment", [sys.executable, "-m", "venv", folder / "environment"], folder)
    [wheel] = built.glob("*.whl")
    pip = [programs / "python", "-m", "pip"]
    run("install", [*pip, "install", "-q", "-c", _ROOT / "constraints.txt", wheel], work)
    run("packages", [*pip, "check"], work)
    run("import", [programs / "python", "-c", _VERSION], work)
    train = [programs / "wsram-train-mnist", "--flagfile=quickstart", "--run_dir=run", *_SMALL]
    run("train", train, work)
    run("evaluate", [programs / "wsram-evaluate", "--run_dir=run"], work)
    export = ["--run_dir=run", "--export_dir=models", "--name=digits"]
    run("export", [programs / "wsram-export-classifier", *export], work)
    run("verify", [programs / "wsram-verify", "--model_dir=models/digits"], work)
    run("example image", [programs / "python", "-c", _DIGIT], work)
    predict = [programs / "wsram-predict", "digit.png"]
    run("predict", [*predict, "--model_dir=models/digits"], work)
    run("predict, pretrained", predict, work)


if __name__ == "__main__":
  main()
