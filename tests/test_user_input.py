"""What users hand in is read or refused by name: a few hundred of the inputs of fuzz.py."""

import os
import pathlib
import subprocess
import sys

import pytest
from hypothesis import strategies as st

from tests import strange_files, strange_records, trials

_FUZZ = pathlib.Path(__file__).parent / "conformance" / "fuzz.py"


_KINDS = (*strange_files.KINDS, *strange_records.KINDS)


@pytest.mark.parametrize("kind", _KINDS, ids=lambda kind: kind.name)
def test_strange_files_are_read_or_refused_by_name(kind, tmp_path):
  tally = trials.try_inputs(kind, 60, seed=1, folder=tmp_path)
  assert not tally.crashes
  assert tally.tried >= 60
  assert tally.accepted and tally.refused  # Inputs of one outcome alone would prove little.


def test_every_flags_wrong_value_is_refused_before_any_training():
  environment = {**os.environ, "TF_NUM_INTRAOP_THREADS": "1"}
  ended = subprocess.run(
    [sys.executable, os.fspath(_FUZZ), "--kind=flags", "--inputs=200"],
    capture_output=True,
    text=True,
    check=False,
    env=environment,
  )
  assert ended.returncode == 0, ended.stdout[-4000:] + ended.stderr[-4000:]
  assert "compare_estimators" in ended.stdout


@pytest.mark.parametrize("fault", ["writes", "hides the name", "raises another error"])
def test_what_is_not_well_met_is_a_crash(fault, tmp_path):
  def read(folder, given):
    if fault == "writes":
      (folder / "more").touch()
    if fault == "raises another error":
      raise KeyError("file.txt must be")
    raise ValueError("wrong" if fault == "hides the name" else "file.txt must be otherwise")

  kind = next(kind for kind in _KINDS if kind.name == "vocabulary")._replace(
    inputs=st.just(b"x"), read=read, refusals=(ValueError,), named=r"file\.txt must"
  )
  tally = trials.try_inputs(kind, 1, seed=1, folder=tmp_path)
  assert (tally.tried, tally.crashed) == (1, 1)
