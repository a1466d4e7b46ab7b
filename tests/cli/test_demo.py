"""The program demo: what it refuses, and that it serves until Ctrl-C without TensorFlow."""

import json
import re
import signal
import subprocess
import sys

import httpx
import PIL.Image
import yaml
from absl.testing import absltest

from tests.support import programs
from tests.support.serving import exports

# As where Gradio is not installed.
_WITHOUT_GRADIO = """
import sys
sys.modules["gradio"] = None
from wsram_tf.cli.programs.demo import demo
demo([])
"""
# As an interrupt that comes just before the program waits: it wakes nothing that blocks.
_INTERRUPTED = """
import _thread, threading
import gradio
from wsram_tf.demo import page
threading.Timer(1.0, _thread.interrupt_main).start()
with gradio.Blocks() as built:
  gradio.Markdown("a page")
try:
  page.launch(built, port=0)
except KeyboardInterrupt:
  print("interrupted")
"""


class DemoTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    self.folder = exports.temporary_folder(self)

  def test_it_serves_until_it_is_stopped(self):
    PIL.Image.new("L", (30, 30)).save(self.folder / "black.png")
    (self.folder / "notes.txt").write_text("no image")
    process = programs.start(
      "export/demo",
      *(f"--model_dir={exports.model_dir().parent}", f"--model_dir={exports.model_dir()}"),
      *(f"--example_dir={self.folder}", "--port=0"),
    )
    self.addCleanup(process.kill)
    line = process.stdout.readline()
    address = re.search(r"http://127\.0\.0\.1:\d+/", line)
    self.assertTrue(address, line + (process.stderr.read() if process.poll() else ""))
    page = httpx.get(address.group()).text
    for shown in ("digits", "digits (2)", "Compare", "black.png"):
      self.assertIn(shown, page)
    self.assertNotIn("notes.txt", page)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    self.assertEqual(process.returncode, 130, errors)
    self.assertEqual(errors.strip().splitlines()[-1], "demo: stopped; the page is closed")
    self.assertNotIn("Traceback", errors)

  def test_an_interrupt_just_before_the_wait_ends_it(self):
    command = [sys.executable, "-c", _INTERRUPTED]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    self.assertEqual(done.stdout.splitlines()[-1], "interrupted", done.stderr)

  def test_without_gradio_it_names_the_extra(self):
    command = [sys.executable, "-c", _WITHOUT_GRADIO]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    self.assertEqual(done.returncode, 1)
    self.assertEqual(done.stderr, 'demo: needs Gradio; install it: pip install "wsram_tf[demo]"\n')

  def test_the_compose_file_starts_the_program_with_flags_that_exist(self):
    folder = programs.ROOT / "export/docker"
    services = yaml.safe_load((folder / "compose.yaml").read_text())["services"]
    command = [re.sub(r"\$\{NAME:.*\}", "digits", word) for word in services["page"]["command"]]
    entry = (folder / "Dockerfile").read_text().rpartition("ENTRYPOINT ")[2]
    name, *flags = json.loads(entry)
    self.assertIn(
      f"{name} = wsram_tf.cli.programs.demo:demo", (programs.ROOT / "setup.cfg").read_text()
    )
    # All flags are right: the program comes as far as the server that is not there.
    unreachable = [word.replace("serving:8500", "localhost:9") for word in command]
    (ending,) = programs.endings("demo", [*flags, *unreachable])
    self.assertIn("localhost:9", ending)
    served = " ".join(services["serving"]["command"])
    commands = (programs.ROOT / "docs/serving.md").read_text()
    for flag in re.findall(r"--\w+", served):
      self.assertIn(flag, commands)

  def test_wrong_flags_are_refused(self):
    three = [f"--model_dir={exports.model_dir()}"] * 3
    cases = {
      "at most 2 models may be named": three,
      "--name belongs to --server and must be given with it": ["--server=localhost:1"],
      "must be a folder that an export wrote": [f"--model_dir={self.folder}"],
      "example_dir=nowhere: must be a folder": ["--example_dir=nowhere"],
      "'a.png': must be a flag": ["a.png"],
      "localhost:1": ["--server=localhost:1", "--name=digits"],
      "preset='none': must be one of": ["--pretrained=none"],
    }
    endings = programs.endings("demo", *cases.values())
    for message, ending in zip(cases, endings, strict=True):
      with self.subTest(message):
        self.assertIn(message, ending)


if __name__ == "__main__":
  absltest.main()
