"""The settings of scenes of digits."""

import dataclasses
from typing import Any

from wsram_tf.settings import check_settings, documented, setting

__all__ = ["SceneConfig"]


@documented
@dataclasses.dataclass(frozen=True)
class SceneConfig:
  """How digits are laid out in scenes."""

  canvas_side: int = setting(64, "side of the square canvas, in pixels", minimum=2)
  smallest_small: int = setting(12, "least side of a digit called small, in pixels", minimum=1)
  largest_small: int = setting(15, "greatest side of a digit called small, in pixels", minimum=1)
  smallest_large: int = setting(22, "least side of a digit called large, in pixels", minimum=1)
  largest_large: int = setting(28, "greatest side of a digit called large, in pixels", minimum=1)
  most_digits: int = setting(
    3, "most digits a scene has; each number up to it is as frequent", minimum=1, maximum=3
  )

  def __post_init__(self):
    check_settings(self)

  def arguments(self) -> dict[str, Any]:
    """The layout as the pipeline's arguments."""
    return {
      "canvas_side": self.canvas_side,
      "small": (self.smallest_small, self.largest_small),
      "large": (self.smallest_large, self.largest_large),
      "most_digits": self.most_digits,
    }
