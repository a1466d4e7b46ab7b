"""Serving loads without TensorFlow, and few modules of other packages."""

import os
import pathlib
import subprocess
import sys
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
BLOCKED = ("tensorflow", "keras", "tensorflow_probability", "tf_keras", "absl", "matplotlib")

BLOCKING = f"""
import sys
class Blocker:
  def find_spec(name, path=None, target=None):
    if name.partition(".")[0] in {BLOCKED!r}:
      raise ImportError(f"{{name}} is blocked")
sys.meta_path.insert(0, Blocker)
"""


def output(code, *arguments):
  """The text that a fresh interpreter prints, in which the blocked modules cannot be imported."""
  done = subprocess.run(
    [sys.executable, "-c", BLOCKING + code, *arguments],
    env={**os.environ, "PYTHONPATH": os.fspath(ROOT)},
    capture_output=True,
    text=True,
    check=False,
  )
  if done.returncode:
    raise AssertionError(done.stderr)
  return done.stdout.strip()


class LoadingTest(unittest.TestCase):
  def test_every_name_loads_without_tensorflow(self):
    names = output(
      "from wsram_tf import serving\n"
      "from wsram_tf.serving import verification\n"
      "for package in serving, verification:\n"
      "  for name in package.__all__: assert getattr(package, name) is not None\n"
      "print(serving.__all__)"
    )
    self.assertIn("ExportedModel", names)

  def test_every_module_loads_without_tensorflow(self):
    files = sorted((ROOT / "wsram_tf/serving").rglob("*.py"))
    names = [".".join(f.relative_to(ROOT).with_suffix("").parts) for f in files]
    self.assertGreater(len(names), 10)
    loaded = output("import importlib\nfor n in sys.argv[1:]: importlib.import_module(n)", *names)
    self.assertEqual(loaded, "")

  def test_only_modules_for_serving_load(self):
    check = output(
      "from wsram_tf.serving.verification import checks\n"
      "from wsram_tf.serving import ExportedModel, prepare_image\n"
      "print(checks.check_imports())"
    )
    self.assertIn("no tensorflow", check)

  def test_the_package_alone_loads_few_modules(self):
    count = int(
      output("before = len(sys.modules)\nimport wsram_tf.serving\nprint(len(sys.modules) - before)")
    )
    # NumPy alone has more than 100.
    self.assertLess(count, 80)

  def test_check_imports_finds_other_modules(self):
    found = output(
      "import types\n"
      "from wsram_tf.serving.verification import agreement, checks\n"
      "for name in 'keras', 'wsram_tf.numerics', 'wsram_tf.data.images', 'wsram_tf.servings':\n"
      "  sys.modules[name] = types.ModuleType(name)\n"
      "  try: print(checks.check_imports())\n"
      "  except agreement.Failure as failure: print(failure)\n"
      "  del sys.modules[name]"
    )
    expected = [
      f"this process imported {name}"
      for name in ("keras", "wsram_tf.numerics", "wsram_tf.data.images", "wsram_tf.servings")
    ]
    self.assertEqual(found.splitlines(), expected)


if __name__ == "__main__":
  unittest.main()
