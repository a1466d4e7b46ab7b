"""What users hand in is read or refused by name: a few hundred of the inputs of fuzz.py."""

import pytest
from hypothesis import strategies as st

from tests.fuzzing import (
  strange_calls,
  strange_files,
  strange_flags,
  strange_models,
  strange_records,
  strange_requests,
  strange_settings,
  trials,
)

_KINDS = (*strange_files.KINDS, *strange_records.KINDS)
# Without those that take seconds: exports, drawings and programs.
_CALLS = [
  kind
  for kind in (*strange_settings.KINDS, *strange_calls.KINDS, *strange_requests.KINDS)
  if kind.name != "animations"
]


@pytest.mark.parametrize("kind", _KINDS, ids=lambda kind: kind.name)
def test_strange_files_are_read_or_refused_by_name(kind, tmp_path):
  tally = trials.try_inputs(kind, 60, seed=1, folder=tmp_path)
  assert not tally.crashes
  assert tally.tried >= 60
  assert tally.accepted and tally.refused  # Inputs of one outcome alone would prove little.


@pytest.mark.parametrize("kind", _CALLS, ids=lambda kind: kind.name)
def test_strange_arguments_and_messages_are_met_or_refused_by_name(kind, tmp_path):
  tally = trials.try_inputs(kind, 60, seed=1, folder=tmp_path)
  assert not tally.crashes
  assert tally.refused


@pytest.mark.parametrize("name", sorted(strange_calls.CALLS))
def test_every_function_refuses_a_wrong_object_by_name(name):
  with pytest.raises(ValueError, match=rf"{strange_calls.NAMES}.*must"):
    strange_calls.CALLS[name](object())


@pytest.mark.parametrize("kind", strange_models.KINDS, ids=lambda kind: kind.name)
def test_strange_models_are_loaded_or_refused_by_name(kind, tmp_path):
  # Few, because each builds a network.
  tally = trials.try_inputs(kind, 16, seed=1, folder=tmp_path)
  assert not tally.crashes
  assert tally.accepted and tally.refused


@pytest.mark.parametrize("kind", strange_flags.PROGRAMS)
def test_every_flags_wrong_value_is_refused_before_any_training(kind, tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  program = strange_flags.Program(kind)
  program.prepare(tmp_path)
  tally = strange_flags.refuse_wrong_values(program, tmp_path, every=False)
  assert not tally.crashes
  assert tally.refused > 100
  tally = trials.try_inputs(program.trials(), 40, seed=1, folder=tmp_path)
  assert not tally.crashes


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
