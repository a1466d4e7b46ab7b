"""Settings of the caption networks, their loss and the search for captions."""

import dataclasses
from typing import Any

from wsram_tf.settings import PRECISION_HELP, PRECISIONS, check_settings, documented, setting

__all__ = [
  "EXPORTED_DECODING",
  "CaptionLossConfig",
  "CaptionModelConfig",
  "DecodingConfig",
]


@documented
@dataclasses.dataclass(frozen=True)
class CaptionModelConfig:
  """Sizes of a caption network and of its inference network.

  Example:

  >>> CaptionModelConfig(height=7, width=7, channels=1280, grid_filters=()).grid_shape
  (7, 7)
  """

  height: int = setting(64, "height of the image, in pixels, or of the grid, in cells", minimum=1)
  width: int = setting(64, "width of the image, in pixels, or of the grid, in cells", minimum=1)
  channels: int = setting(1, "channels of the image, or of the grid", minimum=1)
  grid_filters: tuple[int, ...] = setting(
    (16, 32, 64),
    "filters of each convolution that makes the feature grid, one number per layer; 2 x 2 max "
    "pooling follows each; empty: the input is the grid itself",
    minimum=1,
  )
  grid_reach: int = setting(3, "side of the last convolution's kernel, in cells", minimum=1)
  grid_places: str = setting(
    "own",
    "encoding of a cell's place in its feature: own: a learned vector per cell; smooth: a linear "
    "map of row, column and their squares, which keeps single cells from standing for words",
    choices=("own", "smooth"),
  )
  vocabulary_size: int = setting(32, "number of words, special words included", minimum=5)
  max_words: int = setting(18, "words of the longest caption, its end included", minimum=2)
  units: int = setting(128, "units of each recurrent layer and of a cell's feature", minimum=1)
  word_units: int = setting(64, "units of a word's embedding", minimum=1)
  location_units: int = setting(
    64, "units of the keys and queries that choose the next cell", minimum=1
  )
  attention: str = setting(
    "hard",
    "hard: one sampled cell per word; soft: the mean of all cells, weighted by the prior, a "
    "baseline without sampling (needs estimator=variational, num_samples=1)",
    choices=("hard", "soft"),
  )
  cell: str = setting(
    "lstm",
    "recurrent cell of both layers; relu: plain recurrent layers of ReLU units, as in the paper",
    choices=("lstm", "gru", "relu"),
  )
  context_side: int = setting(
    1,
    "side of the low-resolution grid that initialises the upper layer, in cells; 1: the mean",
    minimum=1,
  )
  dropout: float = setting(
    0.0,
    "fraction of the units of word embeddings and lower states to drop in training, the same units "
    "for all words and samples of a caption",
    minimum=0,
    maximum=0.9,
  )
  inference_reads: str = setting(
    "caption",
    "words that the inference network reads before it proposes a glimpse: caption (all words), "
    "prefix (the words so far) or previous_word (the one word just before, as in the paper)",
    choices=("caption", "prefix", "previous_word"),
  )
  precision: str = setting("float32", PRECISION_HELP, choices=PRECISIONS)
  # (height, width, channels) of each layer's grid, where the input packs the grids of several
  # layers (`PackedGrids`); empty: the input is an image or one grid. The data determine it.
  layer_shapes: tuple[tuple[int, int, int], ...] = ()

  def __post_init__(self):
    for name in ("grid_filters", "layer_shapes"):
      if isinstance(getattr(self, name), list):  # JSON has no tuples.
        object.__setattr__(self, name, tuple(getattr(self, name)))
    check_settings(self)
    if self.layer_shapes != ():
      self._check_layers()
    shrunk = 2 ** len(self.grid_filters)
    for name in ("height", "width"):
      if getattr(self, name) % shrunk:
        raise ValueError(
          f"{name}={getattr(self, name)}: must be a multiple of {shrunk}, because each layer of "
          f"grid_filters={self.grid_filters!r} halves it"
        )
    if self.context_side > min(self.grid_shape):
      raise ValueError(
        f"context_side={self.context_side}: must be at most the grid's shorter side, "
        f"{min(self.grid_shape)} cells"
      )

  def _check_layers(self) -> None:
    given = self.layer_shapes if isinstance(self.layer_shapes, tuple) else [self.layer_shapes]
    shapes = tuple(tuple(shape) if isinstance(shape, list) else shape for shape in given)
    for shape in shapes:
      is_shape = isinstance(shape, tuple) and len(shape) == 3
      if not is_shape or not all(type(side) is int and side > 0 for side in shape):
        raise ValueError(
          f"layer_shapes={self.layer_shapes!r:.200}: must be a tuple of (height, width, channels), "
          "whole numbers from 1"
        )
    object.__setattr__(self, "layer_shapes", shapes)
    if self.grid_filters:
      raise ValueError(
        f"grid_filters={self.grid_filters!r}: must be empty where features come from several layers"
      )
    numbers = sum(height * width * channels for height, width, channels in self.layer_shapes)
    if self.image_shape != (1, 1, numbers):
      raise ValueError(
        f"layer_shapes={self.layer_shapes!r}: must pack into (height, width, channels) = "
        f"{self.image_shape}, and make {numbers} numbers"
      )

  @property
  def image_shape(self) -> tuple[int, int, int]:
    """Height, width, channels of the input."""
    return self.height, self.width, self.channels

  @property
  def grid_shapes(self) -> tuple[tuple[int, int], ...]:
    """Rows and columns of the feature grid of each layer."""
    if self.layer_shapes:
      return tuple((rows, columns) for rows, columns, _ in self.layer_shapes)
    shrunk = 2 ** len(self.grid_filters)
    return ((self.height // shrunk, self.width // shrunk),)

  @property
  def grid_shape(self) -> tuple[int, int]:
    """Rows and columns of the last layer's grid, which the first state is made from."""
    return self.grid_shapes[-1]

  @property
  def num_glimpses(self) -> int:
    """Number of glimpses of the longest caption: one before each word."""
    return self.max_words

  def to_dict(self) -> dict[str, Any]:
    """Returns a dictionary for JSON; `CaptionModelConfig(**values)` restores the config."""
    return dataclasses.asdict(self)


@documented
@dataclasses.dataclass(frozen=True)
class CaptionLossConfig:
  """Settings of the caption loss beside the estimator.

  Example:

  >>> CaptionLossConfig(credit_horizon=3).label_smoothing
  0.0
  """

  credit_by_word: bool = setting(
    True, "weight each glimpse by its own and the following words, instead of the whole caption"
  )
  credit_horizon: int = setting(
    0,
    "with credit_by_word, the number of words that weight a glimpse, its own included; 0: all "
    "following words",
    minimum=0,
  )
  label_smoothing: float = setting(
    0.0, "share of each word's target to spread over all words", minimum=0, maximum=0.9
  )

  def __post_init__(self):
    check_settings(self)


@documented
@dataclasses.dataclass(frozen=True)
class DecodingConfig:
  """Settings of the search for captions.

  Example:

  >>> DecodingConfig(beam_width=3).length_exponent
  1.0
  """

  beam_width: int = setting(1, "captions kept at each word of the search; 1: greedy", minimum=1)
  length_exponent: float = setting(
    1.0,
    "exponent e of the score log-probability / words ** e; a larger e favours longer captions",
    minimum=0,
    maximum=2,
  )
  averaged_samples: int = setting(
    0,
    "glimpse sequences from the prior of each caption of the search, whose probabilities of the "
    "next word are averaged, with the probabilities of the words so far as weights; the random "
    "numbers are always the same; 0: one sequence at the prior's mode",
    minimum=0,
  )
  consensus: bool = setting(
    False,
    "of the captions that the search keeps, answer with the one most like the others (minimum "
    "Bayes risk), in place of the one of highest score; for a beam_width of at least 3",
  )
  consensus_exponent: float = setting(
    0.5,
    "with consensus: exponent of the probabilities that weight the captions; 0: all count alike",
    minimum=0,
    maximum=2,
  )

  def __post_init__(self):
    check_settings(self)
    if self.consensus and self.beam_width < 3:
      raise ValueError(
        f"consensus={self.consensus}: must be false for beam_width={self.beam_width}; it compares "
        "at least 3 captions"
      )

  def check_model(self, model: CaptionModelConfig) -> None:
    """Checks that a model can be searched in this way.

    Raises:
      ValueError: if sequences of soft attention are to be averaged.
    """
    if self.averaged_samples and model.attention == "soft":
      raise ValueError(
        f"averaged_samples={self.averaged_samples}: must be 0 for attention=soft, which draws no "
        "glimpses"
      )


# The search of an exported captioner, unless its exporter chooses another.
EXPORTED_DECODING = DecodingConfig(beam_width=3)
