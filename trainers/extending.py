"""The flag that names files of the user's own, which register estimators."""

import flag_groups

from wsram_tf.extensions import load_extension

__all__ = ["define_flags"]


class ExtensionParser(flag_groups.PathParser):
  """Executes a file when the flag is parsed, after which absl checks the rules of all flags."""

  def parse(self, argument: str) -> str:
    """The path, once the file has been executed.

    Raises:
      ValueError: if there is no such file or it fails.
    """
    path = super().parse(argument)
    try:
      load_extension(path)
    except ValueError as error:  # absl puts the flag before it.
      raise ValueError(str(error).removeprefix(f"extension={self.stored(path)}: ")) from error
    return path


def define_flags() -> None:
  """Defines the flag."""
  flag_groups.define_paths(
    "extension",
    "Python file that registers an estimator with wsram_tf.register_estimator; it is executed "
    "first, so that --estimator takes the name",
    ExtensionParser(),
  )
