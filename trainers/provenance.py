"""What results.json says of the software that a run was made with."""

import importlib.metadata
import importlib.util
import pathlib
import platform
import subprocess
from typing import Any

__all__ = ["software"]

PACKAGES = {
  "tensorflow": "tensorflow",
  "keras": "keras",
  "tensorflow_probability": "tensorflow-probability",
  "wsram_tf": "wsram_tf",
}


def software() -> dict[str, Any]:
  """The versions of Python and the packages; of a checkout also its commit."""
  versions = {"python": platform.python_version()}
  for name, distribution in PACKAGES.items():
    try:
      versions[name] = importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:  # A checkout that is not installed.
      continue
  commit = git_commit(pathlib.Path(importlib.util.find_spec("wsram_tf").origin).parents[1])
  return {"versions": versions, **({"git_commit": commit} if commit else {})}


def git_commit(folder: pathlib.Path) -> str | None:
  """The commit of a checkout, with `-dirty` behind it if files differ; None of another folder."""
  if not (folder / ".git").exists():
    return None
  command = ["git", "-C", str(folder), "describe", "--always", "--dirty", "--abbrev=40"]
  try:
    done = subprocess.run([*command, "--exclude=*"], capture_output=True, text=True, check=False)
  except OSError:  # There is no git.
    return None
  return done.stdout.strip() or None
