"""Runs the commands of README.md and docs/, or names the reason why each does not run here."""

import os
import pathlib
import re
import shlex
import subprocess
import sys
import tempfile
import unittest

from tests.docs import pages

# Commands that run here, in this order in one folder: how they begin, and flags that shorten them.
RUN = (
  (
    "python trainers/train_mnist.py --flagfile=trainers/flagfiles/quickstart.flags --run_dir=",
    "--updates=2 --evaluate_every=2 --batch_size=4 --units=8 --num_glimpses=1 --jit_compile=off "
    "--validation_canvases=3 --test_canvases=3 --evaluation_batch_size=3 "
    "--estimator=variational --num_samples=1",
  ),
  ("python tests/support/example_images.py DIR", "3"),
)
# Commands that other tests run: how they begin, and the test's file.
RUN_ELSEWHERE = {
  "python trainers/evaluate.py --run_dir=runs/quickstart": "tests/cli/training/test_train_mnist.py",
  "python trainers/evaluate.py --run_dir=runs/quickstart --importance": (
    "tests/cli/training/test_train_mnist.py"
  ),
  "python trainers/evaluate.py --run_dir=RUN --thresholds=": "tests/cli/test_evaluation.py",
  "python trainers/train_mnist.py --resume": "tests/cli/training/test_train_mnist.py",
  "python trainers/train_mnist.py --extension=": "tests/cli/test_evaluation.py",
  "python trainers/train_classifier.py --image_dir=": "tests/cli/training/test_train_classifier.py",
  "python trainers/evaluate.py --run_dir=runs/own": "tests/cli/training/test_train_classifier.py",
  "python export/export_classifier.py --run_dir=runs/own": (
    "tests/cli/training/test_train_classifier.py"
  ),
  "python export/predict.py --model_dir=models/own": "tests/cli/training/test_train_classifier.py",
  "python trainers/train_classifier.py --flagfile=trainers/flagfiles/needle_small.flags": (
    "tests/cli/training/test_train_classifier.py"
  ),
  "python trainers/train_captions.py --flagfile=trainers/flagfiles/scenes.flags": (
    "tests/cli/training/test_train_captions.py"
  ),
  "python trainers/compare.py --program=train_mnist --flagfile=trainers/flagfiles/compare_": (
    "tests/cli/test_comparison.py"
  ),
  "python trainers/compare.py --program=train_captions --flagfile=trainers/flagfiles/scenes": (
    "tests/cli/training/test_train_captions.py"
  ),
  "python export/export_classifier.py --run_dir=runs/quickstart": ("tests/cli/test_export.py"),
  "python trainers/reproduce_paper.py --scale=small": "tests/cli/test_paper.py",
  "python export/verify.py": "tests/serving/test_verification.py",
  "python export/predict.py --model_dir=models/digits": "tests/cli/test_prediction.py",
  "python export/demo.py": "tests/cli/test_demo.py",
  "python export/predict.py IMAGE.png": "tests/cli/test_prediction.py",
  "python export/predict.py --animate": "tests/cli/test_prediction.py",
  "python export/predict.py --invert": "tests/cli/test_prediction.py",
  "python export/predict.py --server=": "tests/cli/test_prediction.py",
  "python export/predict.py --server=localhost:8500 --name=slides": "tests/cli/test_regions.py",
  "python trainers/make_pyramids.py": "tests/cli/test_regions.py",
  "python trainers/train_classifier.py --image_dir=SLIDES": "tests/cli/test_regions.py",
  "python trainers/evaluate.py --run_dir=runs/slides": "tests/cli/test_regions.py",
  "python export/export_classifier.py --run_dir=runs/slides": "tests/cli/test_regions.py",
  "python export/predict.py --model_dir=models/slides": "tests/cli/test_regions.py",
  "python trainers/train_captions.py --flagfile=trainers/flagfiles/flickr8k.flags": (
    "tests/cli/training/test_train_captions.py"
  ),
  "python trainers/evaluate.py --run_dir=runs/flickr8k": (
    "tests/cli/training/test_train_captions.py"
  ),
  "python export/export_captioner.py": "tests/export/test_captioner.py",
  "python export/predict.py --model_dir=models/captions/1": "tests/export/test_captioner.py",
  "TF_CONFIG=": "tests/runs/test_distribution.py",
  "python -m tests.benchmarks.early_stop": "tests/benchmarks/small/test_early_stop.py",
  "python -m tests.conformance.fuzz": "tests/fuzzing/test_user_input.py",
  ".ci/list_licences": "tests/packaging/test_licences.py",
}
FULL_MNIST = "needs MNIST of TensorFlow Datasets, and up to hours"
SERVER = "needs a model server; tests/export/test_server_files.py runs it where there is one"
INSTALLS = ".ci/run runs it: it installs the package"
NOT_RUN = {
  "python3 -m venv .venv": INSTALLS,
  "pip install": INSTALLS,
  "pip install pip-audit": "asks a service in the network",
  "python -m pytest": "runs this test",
  "until python trainers/train_mnist.py --resume": (
    "repeats a command that tests/cli/training/test_train_mnist.py runs to its status 75"
  ),
  "ruff": ".ci/run runs it",
  "mkdocs": ".ci/run runs it",
  "pre-commit": "installs tools from the network",
  ".ci/": "runs this test",
  "python trainers/train_mnist.py --help": "test_flags_exist runs it",
  "python trainers/train_mnist.py --stepwise_weight": (
    "minutes; tests/classification/test_stepwise.py trains and scores with the flag"
  ),
  'smaller="': "sets a variable",
  "cd models": SERVER,
  "docker run": "needs Docker",
  "MODELS=$PWD/models NAME=digits docker compose": "needs Docker",
  "python tests/support/example_large_images.py": "makes 2 GB of images",
  "tensorflow_model_server": SERVER,
  "curl": SERVER,
  "printf": SERVER,
  "python trainers/train_mnist.py --flagfile=trainers/flagfiles/translated_scaled": FULL_MNIST,
  "python trainers/train_mnist.py --flagfile=trainers/flagfiles/mnist28": FULL_MNIST,
  "python trainers/train_mnist.py --flagfile=trainers/flagfiles/cluttered": FULL_MNIST,
  "python trainers/compare.py --program=train_mnist --flagfile=trainers/flagfiles/translated": (
    FULL_MNIST
  ),
  "python trainers/train_mnist.py --digits=mnist": FULL_MNIST,
  "python trainers/reproduce_paper.py --experiments=table1": FULL_MNIST,
  "python trainers/reproduce_paper.py --report_only --experiments=table1": (
    "tests/paper/test_published_runs.py checks the runs, tests/cli/test_paper.py the flags"
  ),
  "python trainers/reproduce_paper.py --experiments=table2": (
    "needs Flickr8k, a backbone, and hours"
  ),
  "python -m tests.benchmarks.caption_search": "needs a run on Flickr8k",
  "for name in mnist28": FULL_MNIST,
  "python trainers/train_captions.py --flagfile=trainers/flagfiles/scenes_long": FULL_MNIST,
  "python trainers/train_classifier.py --flagfile=trainers/flagfiles/needle.flags": FULL_MNIST,
  "python trainers/train_classifier.py --flagfile=trainers/flagfiles/needle_4096.flags": FULL_MNIST,
  "python trainers/train_classifier.py --flagfile=trainers/flagfiles/megapixel_mnist": FULL_MNIST,
  "python trainers/compare.py --program=train_captions --flagfile=trainers/flagfiles/flickr8k": (
    "needs Flickr8k, a backbone, and hours"
  ),
}


# Prints the help of each program, in a copy of one process.
HELP = """
import os, runpy, sys
for program in sys.argv[1:]:
  print(f"== {program}", flush=True)
  if not os.fork():
    sys.argv[:] = [program, "--help"]
    runpy.run_path(program, run_name="__main__")
    sys.exit()
  os.wait()
"""


def all_commands() -> dict[str, pathlib.Path]:
  """Returns each command with a page that holds it."""
  return {command: page for page in pages.pages() for command in pages.commands(page)}


def fitting(command: str) -> str:
  """Returns the longest listed beginning of a command, "" where none is listed."""
  listed = [*(begin for begin, _ in RUN), *RUN_ELSEWHERE, *NOT_RUN]
  return max((begin for begin in listed if command.startswith(begin)), key=len, default="")


def in_programs(command: str) -> list[tuple[str, set[str]]]:
  """Returns the repository's programs that a command starts, each with the names of its flags."""
  words = shlex.split(re.sub(r"\\\n", " ", command), comments=True)
  starts = [k for k, word in enumerate(words) if re.fullmatch(r"(trainers|export)/\w+\.py", word)]
  found = []
  for first, end in zip(starts, [*starts, len(words)][1:], strict=True):
    flags = " ".join(words[first + 1 : end])  # Of a --variant too, which holds several.
    found.append((words[first], set(re.findall(r"(?:^|\s)--(\w+)", flags))))
  return found


def flags_of(programs: set[str]) -> dict[str, set[str]]:
  """Returns the names of each program's flags, with the negations of Boolean ones."""
  done = run([sys.executable, "-c", HELP, *sorted(programs)], pages.ROOT)
  assert done.returncode == 0, done.stderr
  found = {}
  for text in done.stdout.split("== ")[1:]:
    program, _, text = text.partition("\n")
    flags = re.findall(r"^  (?:-\w,)?--(\[no\])?(\w+)", text, re.MULTILINE)
    found[program] = {
      prefix + name for negates, name in flags for prefix in ("", "no" if negates else "")
    }
  return found


def run(command: list[str] | str, folder: pathlib.Path) -> subprocess.CompletedProcess:
  """Runs a program or a shell command."""
  return subprocess.run(
    command,
    shell=isinstance(command, str),
    cwd=folder,
    env={
      **os.environ,
      "PYTHONPATH": str(pages.ROOT),
      "PATH": os.pathsep.join([str(pathlib.Path(sys.executable).parent), os.environ["PATH"]]),
    },
    capture_output=True,
    text=True,
    check=False,
  )


class CommandsTest(unittest.TestCase):
  def test_every_command_is_listed(self):
    for command, page in all_commands().items():
      with self.subTest(page=page.name, command=command):
        self.assertTrue(fitting(command), "run it here, or name the test that does or the reason")

  def test_every_entry_is_a_command(self):
    used = {fitting(command) for command in all_commands()}
    listed = {*(begin for begin, _ in RUN), *RUN_ELSEWHERE, *NOT_RUN}
    self.assertEqual(listed - used, set(), "no page holds these commands any more")
    for test in RUN_ELSEWHERE.values():
      self.assertTrue((pages.ROOT / test).is_file(), test)

  def test_flags_exist(self):
    used = [
      (command, program, flags)
      for command in all_commands()
      for program, flags in in_programs(command)
      if program != "trainers/evaluate.py"  # It has the flags of the run's own program.
    ]
    known = flags_of({program for _, program, _ in used})
    for command, program, flags in used:
      allowed = known[program] | {"flagfile", "help"}
      if program == "trainers/compare.py":
        compared = re.search(r"--program=(\w+)", command)[1]
        allowed |= known[f"trainers/{compared}.py"]
      with self.subTest(command=command):
        self.assertEqual(flags - allowed, set())

  def test_commands_run(self):
    with tempfile.TemporaryDirectory() as name:
      folder = pathlib.Path(name)
      for part in ("trainers", "export", "tests"):
        (folder / part).symlink_to(pages.ROOT / part)
      for begin, shortened in RUN:
        for command in all_commands():
          if fitting(command) == begin:
            done = run(f"{command} {shortened}", folder)
            self.assertEqual(done.returncode, 0, f"{command}\n{done.stdout}\n{done.stderr}")
      self.assertTrue((folder / "runs/quickstart/results.json").is_file())


if __name__ == "__main__":
  unittest.main()
