"""The images of train_classifier.py: a folder of classes, a TensorFlow Dataset, or needles."""

import dataclasses
import sys
from typing import Any

import classification
import flag_groups
import mnist
from absl import flags
from digit_source import DigitSourceConfig

import wsram_tf
from wsram_tf.data import image_folder, images, tfds_images
from wsram_tf.settings import check_settings, setting

__all__ = ["define_flags", "make_data", "read_settings"]

NEEDLE = "needle"
NEEDLE_PIXELS = 28


@dataclasses.dataclass(frozen=True)
class ImageConfig:
  """How images are read, divided and changed."""

  image_height: int = setting(100, "height that images are brought to, in pixels", minimum=1)
  image_width: int = setting(100, "width that images are brought to, in pixels", minimum=1)
  color: str = setting("rgb", "what the model sees of an image's colours", choices=("rgb", "grey"))
  fit: str = setting(
    "resize",
    "how an image is brought to that size: resize (stretched) or pad (proportions kept, centred on "
    "black)",
    choices=images.FITS,
  )
  test_percent: int = setting(
    20,
    "of all images, held out to test on, unless the set has a split for it",
    minimum=1,
    maximum=90,
  )
  validation_percent: int = setting(
    10,
    "of the others, held out to choose the weights by, unless the set has a split for it",
    minimum=1,
    maximum=90,
  )
  split_seed: int = setting(
    1, "seed of these splits; the run's seed does not choose its test", minimum=0
  )
  augment_crop: int = setting(
    0, "training images are moved at random by up to so many pixels", minimum=0
  )
  augment_flip: bool = setting(False, "training images are mirrored at random, left and right")
  augment_brightness: float = setting(
    0.0, "training images are made darker or brighter by up to this, of 1", minimum=0, maximum=1
  )

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


@dataclasses.dataclass(frozen=True)
class NeedleConfig:
  """Large canvases with one digit of 28 pixels each, made on the fly; for dataset=needle."""

  needle_side: int = setting(
    1024, "side of the canvas, in pixels, for dataset=needle", minimum=NEEDLE_PIXELS, maximum=4096
  )
  needle_clutter: int = setting(
    64,
    "pieces of other digits, 8 x 8 pixels each, strewn over each canvas, for dataset=needle",
    minimum=0,
  )

  def __post_init__(self):
    check_settings(self)


@dataclasses.dataclass(frozen=True)
class Settings(classification.Settings):
  """All that a run on a folder or a TensorFlow Dataset is made from.

  Attributes:
    image: how images are read.
    class_names: by label.
    source: the opened TensorFlow Dataset; None for a folder.
  """

  image: ImageConfig
  class_names: tuple[str, ...]
  source: Any


def define_flags() -> None:
  """Defines the flags of the images and of `classification.Settings`."""
  flag_groups.define_path("image_dir", "folder that holds a folder of JPEG or PNG files a class")
  flag_groups.define_text(
    "dataset",
    f"instead of image_dir, a classification set of TensorFlow Datasets by its name, or {NEEDLE}: "
    "large canvases with one small digit, made on the fly",
  )
  flag_groups.define_path("data_dir", "folder of prepared TensorFlow Datasets, for dataset")
  flags.DEFINE_bool("download", False, "fetch a TensorFlow Dataset where it is not prepared")
  flag_groups.define(
    ImageConfig,
    hints={
      "validation_percent": ", because the weights are chosen by images held out for it; with few "
      "images, give 5 or less"
    },
  )
  flag_groups.define(NeedleConfig)
  flag_groups.define(DigitSourceConfig)
  flag_groups.define(mnist.DataConfig)
  classification.define_flags()


def read_settings() -> classification.Settings:
  """Reads the flags, and finds out which classes there are.

  Raises:
    ValueError, FileNotFoundError: if flags contradict each other or name no images.
  """
  image_dir, dataset = flags.FLAGS.image_dir, flags.FLAGS.dataset
  if bool(image_dir) == bool(dataset):
    raise ValueError(
      f"image_dir={image_dir!r}, dataset={dataset!r}: one of them must be given, and not both"
    )
  if dataset == NEEDLE:
    needle = flag_groups.read(NeedleConfig)
    return mnist.read_settings(
      wsram_tf.CanvasConfig(
        canvas_side=needle.needle_side,
        smallest_digit=NEEDLE_PIXELS,
        largest_digit=NEEDLE_PIXELS,
        num_clutter=needle.needle_clutter,
      )
    )
  image, source = flag_groups.read(ImageConfig), None
  if dataset:
    source = tfds_images.open_tfds(dataset, flags.FLAGS.data_dir, flags.FLAGS.download)
    class_names = tfds_images.describe_tfds(source, dataset).class_names
  else:
    class_names = image_folder.find_images(image_dir).class_names
  return classification.read_settings(
    Settings,
    image.image_shape,
    len(class_names),
    image=image,
    class_names=class_names,
    source=source,
  )


def make_data(settings: classification.Settings) -> classification.Data:
  """The images that the settings name; says which files could not be read.

  Raises:
    ValueError, FileNotFoundError: if they cannot be had.
  """
  if isinstance(settings, mnist.Settings):
    return mnist.make_data(settings)
  image = settings.image
  splitting = {
    "fit": image.fit,
    "test_percent": image.test_percent,
    "validation_percent": image.validation_percent,
    "split_seed": image.split_seed,
  }
  if settings.source is not None:
    splits = tfds_images.load_tfds(
      settings.source, flags.FLAGS.dataset, image.image_shape, **splitting
    )
  else:
    splits, message = image_folder.load_image_folder(
      flags.FLAGS.image_dir, image.image_shape, **splitting
    )
    if message:
      print(message, file=sys.stderr, flush=True)
  augmentation = images.Augmentation(
    image.augment_crop, image.augment_flip, image.augment_brightness
  )
  batch_size = flag_groups.read(mnist.DataConfig).evaluation_batch_size
  return classification.Data(
    make_training=lambda start: images.training_dataset(
      splits.train,
      augmentation,
      batch_size=flags.FLAGS.batch_size,
      seed=flags.FLAGS.seed,
      start_step=start,
    ),
    validation=images.evaluation_dataset(splits.validation, batch_size),
    test=images.evaluation_dataset(splits.test, batch_size),
    class_names=splits.class_names,
    figures={
      "training_images": len(splits.train.labels),
      "validation_images": len(splits.validation.labels),
      "test_images": len(splits.test.labels),
      "fit": image.fit,
    },
  )
