"""Settings of the canvases that digits are drawn on."""

import dataclasses

from wsram_tf.settings import check_settings, documented, setting

__all__ = ["MEGAPIXEL_LABELS", "MEGAPIXEL_ORDERS", "CanvasConfig", "MegapixelConfig"]

MEGAPIXEL_ORDERS = ("digits_last", "noise_last")
MEGAPIXEL_LABELS = ("majority", "max", "top")


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


@documented
@dataclasses.dataclass(frozen=True)
class MegapixelConfig:
  """Canvases of Megapixel MNIST: five digits, three of them of one class, among noise patterns.

  Example:

  >>> MegapixelConfig(megapixel_side=3000, megapixel_noise=800).megapixel_order
  'digits_last'
  """

  megapixel_side: int = setting(
    1500,
    "side of the canvas, in pixels, for dataset=megapixel_mnist",
    minimum=100,
    maximum=1_000_000,
  )
  megapixel_noise: int = setting(
    50,
    "noise patterns of 28 x 28 pixels on each canvas, and number of different ones, for "
    "dataset=megapixel_mnist",
    minimum=0,
    maximum=5_000,
  )
  megapixel_order: str = setting(
    "digits_last",
    "painting order, for dataset=megapixel_mnist: digits_last (digits are whole) or noise_last "
    "(noise patterns hide parts of digits, as in the original)",
    choices=MEGAPIXEL_ORDERS,
  )
  megapixel_label: str = setting(
    "majority",
    "class of a canvas, for dataset=megapixel_mnist: majority (that of three digits), max (the "
    "largest of the five) or top (that of the digit that begins in the highest row)",
    choices=MEGAPIXEL_LABELS,
  )
  megapixel_shift: int = setting(
    0,
    "each time a training canvas is shown, all its squares move together by up to so many pixels, "
    "at random; what leaves the canvas is cut off; for dataset=megapixel_mnist",
    minimum=0,
  )
  megapixel_wrap: bool = setting(
    False,
    "what megapixel_shift moves beyond an edge comes back at the opposite one, in place of cut off",
  )

  def __post_init__(self):
    check_settings(self)
    if self.megapixel_shift >= self.megapixel_side:
      raise ValueError(
        f"megapixel_shift={self.megapixel_shift}: must be below "
        f"megapixel_side={self.megapixel_side}"
      )
    if self.megapixel_wrap and not self.megapixel_shift:
      raise ValueError("megapixel_wrap=True: must be False without megapixel_shift")
    if self.megapixel_wrap and self.megapixel_label == "top":
      raise ValueError(
        "megapixel_wrap=True: must be False for megapixel_label=top, which it would change"
      )
    most = 4 * self.megapixel_side**2 // 28**2
    if self.megapixel_noise > most:
      raise ValueError(
        f"megapixel_noise={self.megapixel_noise}: must be at most {most} for "
        f"megapixel_side={self.megapixel_side}, four times the canvas"
      )
