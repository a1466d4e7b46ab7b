"""The record of a run: its settings as lines of a flagfile, and the software versions.

A run's `flags.flags` begins with `# task: NAME`, followed by one `--NAME=VALUE` line for each
setting. absl reads the same file back as a flagfile. Loads no TensorFlow.
"""

import dataclasses
import glob
import importlib.metadata
import os
import pathlib
import platform
import subprocess
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

__all__ = [
  "NOT_RECORDED",
  "Settings",
  "collect",
  "differences",
  "expanded_path",
  "lines_by_name",
  "missing_paths",
  "software",
  "stored_path",
  "task_line",
  "task_of",
]

# Settings that a run does not record.
NOT_RECORDED = ("run_dir", "resume", "download")
# Settings that a resumed run may change: they do not change the result, or name a place that moved.
FREE_TO_CHANGE = ("max_hours", "on_nan", "strategy", "micro_batches", "data_dir", "extension")
# Settings that even a task from Python must repeat: without them, the run would continue otherwise.
ALWAYS_COMPARED = ("arrays_sha256", "begin_with", "context_network", "glimpse_network")
_TASK = "# task: "
_PROGRAM = "# program: "  # In runs of version 0.2.
_PACKAGES = {
  "tensorflow": "tensorflow",
  "keras": "keras",
  "tensorflow_probability": "tensorflow-probability",
  "wsram_tf": "wsram_tf",
}

# Whether the value of a setting is a path; some settings hold either a path or a name.
IsPath = Callable[[str], bool]


class Settings(NamedTuple):
  """The settings of a run.

  Attributes:
    lines: the flagfile: comments, and `--NAME=VALUE` lines.
    defaults: the lines of the settings that have their default values.
    paths: the settings that hold paths.
    is_complete: whether the lines hold every setting of the program that records such runs. A
      task started from Python records only its own settings.
  """

  lines: list[str]
  defaults: frozenset[str] = frozenset()
  paths: Mapping[str, IsPath] = {}
  is_complete: bool = True


def task_line(task: str) -> str:
  """Returns the line that names the task of a run; absl skips it as a comment."""
  return f"{_TASK}{task}"


def task_of(lines: Iterable[str]) -> str:
  """Returns the task of a run, or the name of the program that made it.

  Runs of version 0.2 name the program; for older runs the program follows from the flags.
  """
  lines = list(lines)
  for line in lines:
    for mark in (_TASK, _PROGRAM):
      if line.startswith(mark):
        return line.removeprefix(mark).strip()
  names = lines_by_name(lines).keys()
  if "beam_width" in names:
    return "train_captions"
  return "train_classifier" if "image_height" in names else "train_mnist"


def collect(
  task: str, configs: Iterable[Any], leave_out: Iterable[str] = (), extra: Iterable[str] = ()
) -> Settings:
  """Collects the settings of configuration dataclasses.

  Args:
    task: the task's name.
    configs: dataclasses whose fields `wsram_tf.settings.setting` made; nested ones are included.
    leave_out: fields that the data determine.
    extra: further lines.
  """
  lines, defaults, paths = [], set(), {}
  skipped = {*leave_out, *NOT_RECORDED}
  for field, value in _fields(configs):
    if field.name in skipped:
      continue
    is_path = field.metadata.get("is_path")
    if is_path:
      paths[field.name] = is_path
      if not value:
        continue
      value = stored_path(value, is_path)
    line = f"--{field.name}={_text(value)}"
    lines.append(line)
    if value == field.default:
      defaults.add(line)
  unique = list(dict.fromkeys(sorted([*lines, *extra])))
  return Settings([task_line(task), *unique], frozenset(defaults), paths, is_complete=False)


def differences(written: Iterable[str], asked: Settings, *, may_move: bool = False) -> list[str]:
  """Lists the settings in which a run differs from those asked for.

  Args:
    written: lines of the run's flagfile.
    asked: the settings to compare with.
    may_move: whether a path may differ where the run's own path no longer exists.

  Returns:
    for each setting that differs `--NAME=ASKED, not --NAME=WRITTEN`, or the part that exists.
  """
  there = lines_by_name(written, asked.paths)
  here = lines_by_name(asked.lines, asked.paths)
  found = []
  for name in sorted(there.keys() | here.keys()):
    run_has, wanted = there.get(name, []), here.get(name, [])
    if set(run_has) == set(wanted) or name in FREE_TO_CHANGE:
      continue
    if may_move and wanted and name in missing_paths(run_has, asked.paths):
      continue
    # A setting with its default value that the run, made by an older version or by a task from
    # Python, did not record; or one of another task of the same program.
    if not run_has and asked.defaults.issuperset(wanted):
      continue
    if not wanted and not asked.is_complete and name not in ALWAYS_COMPARED:
      continue
    new = [line for line in wanted if line not in run_has]
    found.append(", ".join([*new, *(f"not {line}" for line in run_has if line not in wanted)]))
  return found


def lines_by_name(
  lines: Iterable[str], paths: Mapping[str, IsPath] | None = None
) -> dict[str, list[str]]:
  """Groups the lines of a flagfile by setting, with stored paths; leaves comments out."""
  found: dict[str, list[str]] = {}
  paths = paths or {}
  for line in lines:
    if line.startswith("--"):
      name, equals, value = line.lstrip("-").partition("=")
      if equals and name in paths:
        line = f"--{name}={stored_path(value, paths[name])}"
      found.setdefault(name, []).append(line)
    elif line.strip() and not line.startswith("#"):
      found.setdefault(line, []).append(line)
  return found


def missing_paths(lines: Iterable[str], paths: Mapping[str, IsPath]) -> list[str]:
  """Returns the names of the settings in these lines whose paths do not exist."""
  found = []
  for name, values in lines_by_name(lines).items():
    if name in paths and any(_is_missing(line.partition("=")[2]) for line in values):
      found.append(name)
  return found


def expanded_path(value: str) -> str:
  """Expands `~`, which the shell does not expand after a flag's `=`."""
  return os.path.expanduser(value)


def stored_path(value: str, is_path: IsPath = bool) -> str:
  """Makes a path independent of the working directory; returns a name unchanged."""
  return os.path.abspath(expanded_path(value)) if value and is_path(value) else value


def software() -> dict[str, Any]:
  """Returns the versions of Python and the packages, and a checkout's commit."""
  versions = {"python": platform.python_version()}
  for name, distribution in _PACKAGES.items():
    try:
      versions[name] = importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:  # A checkout that is not installed.
      continue
  commit = git_commit(pathlib.Path(__file__).parents[2])
  return {"versions": versions, **({"git_commit": commit} if commit else {})}


def git_commit(folder: pathlib.Path) -> str | None:
  """Returns the commit of a checkout, with `-dirty` where files differ; None for other folders."""
  if not (folder / ".git").exists():
    return None
  command = ["git", "-C", str(folder), "describe", "--always", "--dirty", "--abbrev=40"]
  try:
    done = subprocess.run([*command, "--exclude=*"], capture_output=True, text=True, check=False)
  except OSError:  # git is not installed.
    return None
  return done.stdout.strip() or None


def _fields(configs: Iterable[Any]) -> Iterable[tuple[dataclasses.Field, Any]]:
  for config in configs:
    for field in dataclasses.fields(config):
      value = getattr(config, field.name)
      if "help" in field.metadata:
        yield field, value
      elif dataclasses.is_dataclass(value):
        yield from _fields([value])


def _text(value: Any) -> str:
  if isinstance(value, bool):
    return str(value).lower()
  return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _is_missing(path: str) -> bool:
  """Whether nothing exists at a stored path; the path may lack the suffix of its files."""
  if not os.path.isabs(path) or os.path.exists(path):
    return False
  return not glob.glob(f"{glob.escape(path)}.*")
