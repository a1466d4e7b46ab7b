"""The weights that a training begins with, where they are those of a finished run."""

from collections.abc import Callable

import flag_groups
import keras
from absl import flags
from run_folder import RunFolder

from wsram_tf.learning.base_learner import BaseLearner

__all__ = ["check", "define_flags", "finished_run", "take"]


def define_flags() -> None:
  """Defines the flag that names the run."""
  flag_groups.define_path(
    "begin_with",
    "folder of a finished run whose weights this one begins with, in place of random ones; the "
    "model must be of the same form",
  )


def finished_run() -> RunFolder | None:
  """The run that the flag names; None where it names none.

  Raises:
    ValueError: if there is no finished run.
  """
  if not flags.FLAGS.begin_with:
    return None
  run = RunFolder(flags.FLAGS.begin_with)
  if not run.model.is_file():
    raise ValueError(f"begin_with={run.path}: holds no finished run, {run.model.name} is missing")
  return run


def check(make_learner: Callable[[], BaseLearner]) -> None:
  """Refuses weights that will not do, before anything is written; see `take`."""
  if finished_run():
    take(make_learner())


def take(learner: BaseLearner) -> None:
  """Gives a learner the weights that the flag names, if any.

  Raises:
    ValueError: if they cannot be loaded, or are of a model of another form.
  """
  run = finished_run()
  if run is None:
    return
  try:
    other = keras.saving.load_model(run.model, compile=False)
  except Exception as error:  # What a wrong byte does to a reader cannot be foreseen.
    raise ValueError(
      f"begin_with={run.path}: {run.model.name} cannot be loaded: {error}"
    ) from error
  if type(other) is not type(learner):
    raise ValueError(
      f"begin_with={run.path}: must hold a {type(learner).__name__}, and holds a "
      f"{type(other).__name__}"
    )
  try:
    learner.take_weights(other)
  except ValueError as error:
    mine, theirs = (one.model_config.to_dict() for one in (learner, other))
    differing = [f"{key}={theirs[key]!r}" for key in mine if mine[key] != theirs.get(key)]
    raise ValueError(
      f"begin_with={run.path}: its model must be of the same form ({', '.join(differing)} there); "
      f"{error}"
    ) from error
