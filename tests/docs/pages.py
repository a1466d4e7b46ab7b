"""Finds code blocks and commands in README.md, the pages of docs/ and the tutorials."""

import pathlib
import re

__all__ = ["ROOT", "blocks", "commands", "pages"]

ROOT = pathlib.Path(__file__).resolve().parents[2]
FRONT = ("README.md", "CONTRIBUTING.md", "SECURITY.md")


def pages() -> list[pathlib.Path]:
  """Returns the files that hold documentation for users and contributors."""
  docs = ROOT / "docs"
  found = [*docs.rglob("*.md"), *(docs / "tutorials").glob("*.py")]
  return [*(ROOT / name for name in FRONT), *sorted(found)]


def blocks(page: pathlib.Path, language: str) -> list[str]:
  """Returns the contents of a page's code blocks in one language, in order."""
  return re.findall(rf"^```{language}\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)


def commands(page: pathlib.Path) -> list[str]:
  """Returns the shell commands of a page; a loop, a pipe or continued lines are one command."""
  found, part = [], ""
  for block in blocks(page, "bash"):
    for line in block.splitlines():
      if not line.strip() or line.startswith("#"):
        continue
      part += line + "\n"
      in_loop = part.startswith("for ") and line != "done"
      if not in_loop and not re.search(r"(\\|\||&&)$", line):
        found.append(part.strip())
        part = ""
  return found
