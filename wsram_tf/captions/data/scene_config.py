"""Settings of scenes of digits."""

import dataclasses
from typing import Any

from wsram_tf.settings import check_settings, documented, setting

__all__ = ["SceneConfig"]


@documented
@dataclasses.dataclass(frozen=True)
class SceneConfig:
  """Sizes of a scene and of its digits.

  Example:

  >>> SceneConfig(canvas_side=48).arguments()["small"]
  (12, 15)
  """

  canvas_side: int = setting(64, "side of the square canvas, in pixels", minimum=2)
  smallest_small: int = setting(12, "smallest side of a small digit, in pixels", minimum=1)
  largest_small: int = setting(15, "largest side of a small digit, in pixels", minimum=1)
  smallest_large: int = setting(22, "smallest side of a large digit, in pixels", minimum=1)
  largest_large: int = setting(28, "largest side of a large digit, in pixels", minimum=1)
  most_digits: int = setting(
    3, "largest number of digits in a scene; all numbers are equally frequent", minimum=1, maximum=3
  )

  def __post_init__(self):
    check_settings(self)

  def arguments(self) -> dict[str, Any]:
    """Returns the layout as keyword arguments of `scenes.scene_dataset`."""
    return {
      "canvas_side": self.canvas_side,
      "small": (self.smallest_small, self.largest_small),
      "large": (self.smallest_large, self.largest_large),
      "most_digits": self.most_digits,
    }
