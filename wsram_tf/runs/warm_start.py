"""Initial weights from a finished run."""

import os

from wsram_tf.learning.base_learner import BaseLearner
from wsram_tf.model_files.loading import load_model
from wsram_tf.runs.folder import RunFolder

__all__ = ["finished_run", "take_weights"]


def finished_run(begin_with: str | os.PathLike) -> RunFolder:
  """Opens the folder of a finished run.

  Raises:
    ValueError: if it holds no finished run.
  """
  run = RunFolder(begin_with)
  run.check_finished("begin_with")
  return run


def take_weights(learner: BaseLearner, run: RunFolder) -> None:
  """Copies the weights of a finished run into a learner.

  Args:
    learner: a learner with a model of the same form.
    run: the finished run.

  Raises:
    ValueError: if the weights cannot be loaded, or their model has another form.
  """
  try:
    other = load_model(run.model, compile=False)
  except Exception as error:  # A damaged file can raise anything.
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
      f"begin_with={run.path}: its model must have the same form ({', '.join(differing)} there); "
      f"{error}"
    ) from error
