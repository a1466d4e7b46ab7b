"""Settings of the canvases that digits are drawn on."""

import dataclasses

from wsram_tf.settings import check_settings, documented, setting

__all__ = ["CanvasConfig"]


@documented
@dataclasses.dataclass(frozen=True)
class CanvasConfig:
  """Sizes of a canvas and of the digit on it, and the amount of clutter.

  Example:

  >>> CanvasConfig(canvas_side=60, largest_digit=28).smallest_digit
  14
  """

  canvas_side: int = setting(100, "side of the square canvas, in pixels", minimum=1)
  smallest_digit: int = setting(14, "smallest side of a digit, in pixels", minimum=1)
  largest_digit: int = setting(56, "largest side of a digit, in pixels", minimum=1)
  num_clutter: int = setting(
    0, "pieces of other digits, 8 x 8 pixels each, pasted onto each canvas", minimum=0
  )

  def __post_init__(self):
    check_settings(self)
    if self.largest_digit > self.canvas_side:
      raise ValueError(
        f"largest_digit={self.largest_digit}: must be at most canvas_side={self.canvas_side}"
      )
    if self.smallest_digit > self.largest_digit:
      raise ValueError(
        f"smallest_digit={self.smallest_digit}: must be at most largest_digit={self.largest_digit}"
      )
