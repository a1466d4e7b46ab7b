"""The settings of a caption model, of its learning and of scenes; made like those of `config`."""

import dataclasses
from typing import Any

from wsram_tf.settings import PRECISION_HELP, PRECISIONS, check_settings, documented, setting

__all__ = [
  "CaptionLossConfig",
  "CaptionModelConfig",
  "DecodingConfig",
]


@documented
@dataclasses.dataclass(frozen=True)
class CaptionModelConfig:
  """The shape of a caption network and of its inference network."""

  height: int = setting(64, "height of the image, in pixels, or of the grid, in cells", minimum=1)
  width: int = setting(64, "width of the image, in pixels, or of the grid, in cells", minimum=1)
  channels: int = setting(1, "channels of the image, or numbers a cell of the grid", minimum=1)
  grid_filters: tuple[int, ...] = setting(
    (16, 32, 64),
    "filters of each convolution, followed by 2 x 2 max pooling, that makes the feature grid, one "
    "number a layer; empty: the input is the grid itself",
    minimum=1,
  )
  grid_reach: int = setting(
    3, "side of the last convolution, which gives a cell its feature, in cells", minimum=1
  )
  grid_places: str = setting(
    "own",
    "what a cell's feature says of its place: own: a vector of each cell's own; smooth: a map of "
    "row, column and their squares, which makes it hard for a cell to become a sign for a word",
    choices=("own", "smooth"),
  )
  vocabulary_size: int = setting(32, "number of words, the special ones included", minimum=5)
  max_words: int = setting(18, "words of the longest caption, its end included", minimum=2)
  units: int = setting(128, "units of each recurrent layer and of a cell's feature", minimum=1)
  word_units: int = setting(64, "numbers that a word is embedded in", minimum=1)
  location_units: int = setting(
    64, "numbers by which a cell and a state are compared to choose where to look", minimum=1
  )
  attention: str = setting(
    "hard",
    "hard: one cell a word, sampled; soft: the mean of all cells, weighted by the prior, a rival "
    "that needs no estimator (give estimator=variational, num_samples=1)",
    choices=("hard", "soft"),
  )
  cell: str = setting("lstm", "recurrent cell of both layers", choices=("lstm", "gru"))
  context_side: int = setting(
    1,
    "side of the low-resolution grid that starts the upper layer, in cells; 1: the mean",
    minimum=1,
  )
  dropout: float = setting(
    0.0,
    "part of the embedded words and of the states before a word that is dropped in training, the "
    "same for all words and samples of a caption",
    minimum=0,
    maximum=0.9,
  )
  precision: str = setting("float32", PRECISION_HELP, choices=PRECISIONS)

  def __post_init__(self):
    if isinstance(self.grid_filters, list):  # JSON knows no tuples.
      object.__setattr__(self, "grid_filters", tuple(self.grid_filters))
    check_settings(self)
    shrunk = 2 ** len(self.grid_filters)
    for name in ("height", "width"):
      if getattr(self, name) % shrunk:
        raise ValueError(
          f"{name}={getattr(self, name)}: must be a multiple of {shrunk}, since each of "
          f"grid_filters={self.grid_filters!r} halves it"
        )
    if self.context_side > min(self.grid_shape):
      raise ValueError(
        f"context_side={self.context_side}: must be at most the grid's shorter side, "
        f"{min(self.grid_shape)} cells"
      )

  @property
  def image_shape(self) -> tuple[int, int, int]:
    """Height, width, channels of the input."""
    return self.height, self.width, self.channels

  @property
  def grid_shape(self) -> tuple[int, int]:
    """Rows and columns of the feature grid."""
    shrunk = 2 ** len(self.grid_filters)
    return self.height // shrunk, self.width // shrunk

  @property
  def num_glimpses(self) -> int:
    """Glimpses of the longest caption: one before each word."""
    return self.max_words

  def to_dict(self) -> dict[str, Any]:
    """Returns a JSON-ready dictionary; `CaptionModelConfig(**values)` takes it back."""
    return dataclasses.asdict(self)


@documented
@dataclasses.dataclass(frozen=True)
class CaptionLossConfig:
  """What the loss of a caption has beside the estimator."""

  credit_by_word: bool = setting(
    True, "weigh a glimpse by what comes from its word on, instead of by the whole caption"
  )
  credit_horizon: int = setting(
    0,
    "with credit by word, for how many words a glimpse answers, its own included; 0: all that "
    "follow",
    minimum=0,
  )
  label_smoothing: float = setting(
    0.0, "part of each word's target that is spread over all words", minimum=0, maximum=0.9
  )

  def __post_init__(self):
    check_settings(self)


@documented
@dataclasses.dataclass(frozen=True)
class DecodingConfig:
  """How a caption is searched for."""

  beam_width: int = setting(1, "captions kept at each word of the search; 1: greedy", minimum=1)
  length_exponent: float = setting(
    1.0,
    "captions are compared by log-probability / words ** this, so that longer ones stand a chance",
    minimum=0,
    maximum=2,
  )

  def __post_init__(self):
    check_settings(self)
