"""SECURITY.md lists the licences of the run-time dependencies, as the program prints them."""

import configparser
import importlib.metadata
import pathlib
import re
import subprocess
import sys
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]


def rows(text: str) -> dict[str, str]:
  """The licences of a table, by package."""
  return dict(re.findall(r"^\| ([a-z0-9-]+) \| (.+) \|$", text, re.MULTILINE)[1:])


class LicencesTest(unittest.TestCase):
  def setUp(self):
    super().setUp()
    self.listed = rows((ROOT / "SECURITY.md").read_text().partition("## Licences")[2])

  def test_every_dependency_is_listed(self):
    settings = configparser.ConfigParser()
    settings.read(ROOT / "setup.cfg")
    lines = settings["options"]["install_requires"].splitlines()
    names = [re.match(r"[\w-]+", line) for line in lines if line and not line.startswith("#")]
    names = {name.group().replace("_", "-") for name in names if name}
    self.assertIn("tensorflow", names)
    self.assertLessEqual(names, self.listed.keys())
    self.assertGreater(len(self.listed), len(names))

  def test_no_licence_demands_more(self):
    for name, licence in self.listed.items():
      self.assertNotRegex(licence, r"GPL|Affero|Commons|Proprietary|not named", name)

  def test_the_program_prints_the_table(self):
    try:
      importlib.metadata.distribution("wsram_tf")
    except importlib.metadata.PackageNotFoundError:
      self.skipTest("needs the installed package")
    command = [sys.executable, ROOT / ".ci" / "list_licences"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    printed = rows(done.stdout)
    for name in ("tensorflow", "keras", "grpcio", "tqdm"):
      self.assertEqual(printed[name], self.listed[name])


if __name__ == "__main__":
  unittest.main()
