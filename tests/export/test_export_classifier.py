"""The program export_classifier.py, as a user runs it, and the commands of the page it writes."""

import json
import os
import pathlib
import re
import shutil

import finished_run
import keras
import manifests
import numpy as np
import pytest

import wsram_tf
from wsram_tf import objectives


@pytest.fixture(scope="module")
def run_dir(helpers, tmp_path_factory):
  path = tmp_path_factory.mktemp("runs") / "small run"
  path.mkdir()
  learner = wsram_tf.WakeSleepLearner(helpers.make_network().config)
  learner.compile(keras.optimizers.Adam(1e-3), jit_compile=True)
  learner.save(path / "model.keras")
  (path / "results.json").write_text(json.dumps({"test_error_percent": 12.5}))
  return path


def test_a_full_disk_publishes_nothing(helpers, run_dir, tmp_path):
  done = helpers.run_with_small_files(
    "export_classifier.py",
    100_000,
    f"--run_dir={run_dir}",
    f"--export_dir={tmp_path / 'models'}",
    "--name=small",
  )
  assert done.returncode == 1
  assert "Traceback" not in done.stderr
  last = done.stderr.splitlines()[-1]
  assert last.startswith(
    f"export_classifier.py: export_dir={tmp_path / 'models'}: the version cannot"
  )
  assert last.endswith("; nothing was published")
  assert not list(tmp_path.iterdir())


def test_a_run_with_an_extension_is_exported(run_dir, tmp_path, monkeypatch):
  monkeypatch.setitem(objectives.ESTIMATORS, "mine", None)  # Removed again when the test ends.
  extension, extended = tmp_path / "loss.py", tmp_path / "run"
  extension.write_text(
    "import wsram_tf\n"
    "wsram_tf.register_estimator('mine', wsram_tf.Estimator('mine', 'prior', lambda scored: 0))\n"
  )
  shutil.copytree(run_dir, extended)
  (extended / "flags.flags").write_text(f"--extension={tmp_path / 'moved.py'}\n")
  with pytest.raises(ValueError, match=r"extension=.*moved\.py: there is no such file"):
    finished_run.load_run(extended)
  finished_run.load_run(extended, [extension])
  assert objectives.ESTIMATORS["mine"].help == "mine"
  (extended / "flags.flags").write_text(f"--units=8\n--extension={extension}\n")
  finished_run.load_run(extended)


@pytest.mark.smoke
def test_a_run_becomes_a_verified_version(helpers, run_dir, tmp_path):
  export_dir = tmp_path / "models"
  done = helpers.run_program(
    "export_classifier.py",
    f"--run_dir={run_dir}",
    f"--export_dir={export_dir}",
    "--name=small",
    "--averaged_samples=2",
    "--allowed_batch_sizes=1,3",
  )
  assert done.returncode == 0, done.stderr
  assert re.search(r"refusals +ok", done.stdout)
  assert done.stdout.endswith(
    f"Exported {export_dir}/small/1\nHow to serve it: {export_dir}/README.md\n"
  )
  manifest = manifests.read_manifest(export_dir / "small/1")
  assert (manifest.source, manifest.test_error_percent) == ("run small run", 12.5)
  assert (manifest.averaged_samples, manifest.allowed_batch_sizes) == (2, [1, 3])
  assert {path.name for path in export_dir.iterdir()} == {
    "small",
    "README.md",
    "models.config",
    "batching_parameters.txt",
    "monitoring.config",
  }
  # Nothing tells where it was made.
  for path in export_dir.rglob("*"):
    if path.is_file():
      contents = path.read_bytes()
      assert os.fsencode(export_dir) not in contents, path
      assert os.fsencode(pathlib.Path(__file__).parents[2]) not in contents, path


def test_another_contract_is_refused_in_one_line(helpers, export_dir, tmp_path):
  shutil.copytree(export_dir, tmp_path / "models")
  learner = wsram_tf.WakeSleepLearner(helpers.make_network(num_glimpses=2).config)
  learner.save(tmp_path / "model.keras")
  done = helpers.run_program(
    "export_classifier.py",
    f"--run_dir={tmp_path}",
    f"--export_dir={tmp_path / 'models'}",
    "--name=digits",
  )
  assert done.returncode == 1
  assert "export_classifier.py: name='digits': a new version must keep the contract" in done.stderr
  assert "attend.outputs.locations: float32 [-1, 3, 2] became float32 [-1, 2, 2]" in done.stderr
  assert "Traceback" not in done.stderr
  assert manifests.version_numbers(tmp_path / "models/digits") == [1]


@pytest.mark.parametrize(
  ("file", "damage", "words"),
  [
    ("model.keras", lambda contents: contents[: len(contents) // 2], "model.keras must be whole"),
    ("model.keras", lambda contents: b"", "model.keras must be whole"),
    ("results.json", lambda contents: contents[:-2], "results.json must be as training wrote it"),
    ("results.json", lambda contents: b"[1]", "results.json must be as training wrote it"),
  ],
  ids=["half a model", "no model", "half the results", "other results"],
)
def test_damaged_runs_are_refused(run_dir, tmp_path, file, damage, words):
  shutil.copytree(run_dir, tmp_path, dirs_exist_ok=True)
  (tmp_path / file).write_bytes(damage((tmp_path / file).read_bytes()))
  with pytest.raises(ValueError, match=words) as error:
    finished_run.load_run(tmp_path)
  assert str(tmp_path) in str(error.value)


def test_what_is_no_learner_is_refused(helpers, network, tmp_path):
  network.save(tmp_path / "model.keras")
  with pytest.raises(ValueError, match="must hold a WakeSleepLearner; got PredictionNetwork"):
    finished_run.load_run(tmp_path)


def test_a_run_without_results_has_no_error(run_dir, tmp_path):
  shutil.copy(run_dir / "model.keras", tmp_path)
  assert finished_run.load_run(tmp_path).test_error_percent is None


@pytest.mark.parametrize(
  ("flag", "words"),
  [
    ("--run_dir=nowhere", "must be a folder that holds model.keras"),
    ("--name=7", "name='7': must be a letter, then letters, digits"),
    ("--averaged_samples=0", "must be at least 1"),
    ("--allowed_batch_sizes=1,8,4", "must be whole numbers from 1, rising"),
    ("--allowed_batch_sizes=", "must be whole numbers from 1, rising"),
    ("--pretrained=any", "Exactly one of (run_dir, pretrained)"),
  ],
)
def test_wrong_flags_are_refused(helpers, run_dir, tmp_path, flag, words):
  arguments = {
    "--run_dir": run_dir,
    "--export_dir": tmp_path / "models",
    "--name": "small",
  }
  right = [f"{name}={value}" for name, value in arguments.items()]
  done = helpers.run_program("export_classifier.py", *right, flag)
  assert done.returncode == 1
  assert words in done.stderr
  assert flag.partition("=")[0].strip("-") in done.stderr
  assert not list(tmp_path.iterdir())


def test_a_run_with_names_tells_them_and_verifies(helpers, run_dir, cpp, tmp_path):
  run = tmp_path / "run"
  shutil.copytree(run_dir, run)
  names = [
    f"a very long name of class {label}" if label % 2 else f"n{label}" for label in range(10)
  ]
  (run / "class_names.txt").write_text("\n".join(names) + "\n")
  (run / "results.json").write_text(json.dumps({"test_error_percent": 12.5, "fit": "pad"}))
  arguments = [f"--run_dir={run}", f"--export_dir={tmp_path / 'models'}", "--name=named"]
  done = helpers.run_program(
    "export_classifier.py", *arguments, "--averaged_samples=1", "--allowed_batch_sizes=1"
  )
  assert done.returncode == 0, done.stderr + done.stdout
  model_dir = tmp_path / "models/named/1"
  manifest = manifests.read_manifest(model_dir)
  assert (manifest.class_names, manifest.fit) == (names, "pad")
  images = np.random.RandomState(0).rand(5, 40, 36, 1).astype(np.float32)
  answer = cpp.run(model_dir, "serving_default", images=images)
  told = [name.decode() for name in answer["class_name"]]
  assert told == [names[label] for label in answer["class_id"]]
  # Another name is another answer, which verify.py finds out.
  with np.load(model_dir / manifests.GOLDEN_FILE) as stored:
    golden = dict(stored)
  golden["attend/class_name"][0] = b"other"
  np.savez_compressed(model_dir / manifests.GOLDEN_FILE, **golden)
  assert not cpp.verify(model_dir)["golden answers"][0]
