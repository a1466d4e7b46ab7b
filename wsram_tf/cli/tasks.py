"""The flags of each training program, and the task that they describe."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from wsram_tf import extensions, objectives
from wsram_tf.captions.config import CaptionLossConfig, CaptionModelConfig, DecodingConfig
from wsram_tf.captions.data.scene_config import SceneConfig
from wsram_tf.classification.config import GlimpseConfig, LocationConfig, ModelConfig
from wsram_tf.cli.flags import PathParser, ProgramFlags
from wsram_tf.config import ExplorationConfig, ObjectiveConfig
from wsram_tf.data.canvases.config import CanvasConfig, MegapixelConfig
from wsram_tf.runs import record
from wsram_tf.tasks import config

if TYPE_CHECKING:
  from wsram_tf.runs.task import Task

__all__ = ["PROGRAMS", "TrainingProgram", "define_extension", "program_of"]

NEEDLE, MEGAPIXEL = "needle", "megapixel_mnist"
CAPTION_SETS = ("scenes", "flickr8k", "coco_captions")


class TrainingProgram(NamedTuple):
  """A program that trains.

  Attributes:
    define: defines the flags of its tasks.
    make_task: makes the task from the flags; imports TensorFlow.
    tasks: the names of its tasks.
    batch_size: the default of this flag.
    estimators: the default estimators of a comparison.
    is_classifier: whether its tasks classify.
  """

  define: Callable[[ProgramFlags], None]
  make_task: Callable[[ProgramFlags], Task]
  tasks: tuple[str, ...]
  batch_size: int
  estimators: tuple[str, ...]
  is_classifier: bool


def program_of(task: str) -> str:
  """Returns the program that trains a task.

  Args:
    task: the task of a run, or its program, as `record.task_of` returns them.

  Raises:
    ValueError: if no program trains it.
  """
  for name, program in PROGRAMS.items():
    if task == name or task in program.tasks:
      return name
  raise ValueError(
    f"task={task!r}: must be a task of a training program; resume and evaluate it from Python, by "
    "wsram_tf.runs"
  )


class ExtensionParser(PathParser):
  """Executes a Python file when its flag is parsed, before absl checks the rules of all flags."""

  def parse(self, argument: str) -> str:
    """Executes the file; returns its path.

    Raises:
      ValueError: if there is no such file or it fails.
    """
    path = super().parse(argument)
    try:
      extensions.load_extension(path)
    except ValueError as error:  # absl adds the flag at the front.
      prefix = f"extension={record.stored_path(path)}: "
      raise ValueError(str(error).removeprefix(prefix)) from error
    return path


def define_extension(flags: ProgramFlags) -> None:
  """Defines the flag for Python files that register estimators."""
  flags.define_paths(
    "extension",
    "Python file that registers an estimator with wsram_tf.register_estimator; it is executed "
    "first, so that --estimator accepts the name",
    ExtensionParser(),
  )


def _define_classifier(flags: ProgramFlags) -> None:
  flags.define(ModelConfig, leave_out=("height", "width", "channels", "num_classes"))
  flags.define(GlimpseConfig)
  flags.define(LocationConfig)
  flags.define(ObjectiveConfig)
  flags.define(ExplorationConfig)
  flags.define(config.DiagnosisConfig)


def _classifier_options(flags: ProgramFlags, image_shape: tuple[int, int, int]) -> dict[str, Any]:
  height, width, channels = image_shape
  return {
    "model": flags.read(
      ModelConfig,
      height=height,
      width=width,
      channels=channels,
      glimpse=flags.read(GlimpseConfig),
      location=flags.read(LocationConfig),
    ),
    "objective": flags.read(ObjectiveConfig),
    "exploration": flags.read(ExplorationConfig),
    "diagnosis": flags.read(config.DiagnosisConfig),
  }


def _define_digits(flags: ProgramFlags) -> None:
  flags.define_path(
    "data_dir",
    "folder of prepared TensorFlow Datasets or of IDX files, for digits=mnist and fashion_mnist",
  )
  flags.define(config.DigitSourceConfig)
  flags.define(config.CanvasEvaluationConfig)
  flags.define(CanvasConfig)
  _define_classifier(flags)


def _make_digits(flags: ProgramFlags) -> Task:
  canvas = flags.read(CanvasConfig)
  options = _classifier_options(flags, (canvas.canvas_side, canvas.canvas_side, 1))
  from wsram_tf.tasks.digits import DigitTask

  return DigitTask(
    canvas=canvas,
    source=flags.read(config.DigitSourceConfig),
    evaluation=flags.read(config.CanvasEvaluationConfig),
    **options,
  )


def _define_images(flags: ProgramFlags) -> None:
  flags.define_path("image_dir", "folder that holds a folder of image files for each class")
  flags.define_bool(
    "regions",
    False,
    "read regions of large files (pyramidal TIFF, whole slides) in place of whole images; files of "
    "any size",
  )
  flags.define_path(
    "manifest",
    "with regions, in place of image_dir: CSV file with the columns path and label, and perhaps "
    "group (files of one group stay together) and split (train, validation or test)",
  )
  flags.define_text(
    "dataset",
    "in place of image_dir, the name of a classification set of TensorFlow Datasets, or "
    f"{NEEDLE} (large canvases with one small digit, made during training) or {MEGAPIXEL} (fixed "
    "large canvases with five digits among noise)",
  )
  flags.define_path(
    "data_dir",
    "folder of prepared TensorFlow Datasets, for dataset and digits, or of IDX files, for digits",
  )
  flags.define_bool("download", False, "fetch a TensorFlow Dataset where it is not prepared")
  flags.define(
    config.ImageConfig,
    hints={
      "validation_percent": ", because images held out for it choose the weights; with few images, "
      "give 5 or less"
    },
  )
  flags.define(config.NeedleConfig)
  flags.define(MegapixelConfig)
  flags.define(config.MegapixelSetConfig)
  flags.define(config.DigitSourceConfig)
  flags.define(config.CanvasEvaluationConfig)
  _define_classifier(flags)


def _make_images(flags: ProgramFlags) -> Task:
  if flags.regions or flags.manifest:
    return _make_regions(flags)
  if bool(flags.image_dir) == bool(flags.dataset):
    raise ValueError(
      f"image_dir={flags.image_dir!r}, dataset={flags.dataset!r}: exactly one of them must be given"
    )
  if flags.dataset == NEEDLE:
    needle = flags.read(config.NeedleConfig)
    options = _classifier_options(flags, (needle.needle_side, needle.needle_side, 1))
    from wsram_tf.tasks.digits import NeedleTask

    return NeedleTask(
      needle=needle,
      source=flags.read(config.DigitSourceConfig),
      evaluation=flags.read(config.CanvasEvaluationConfig),
      **options,
    )
  if flags.dataset == MEGAPIXEL:
    megapixel = flags.read(MegapixelConfig)
    options = _classifier_options(flags, (megapixel.megapixel_side, megapixel.megapixel_side, 1))
    from wsram_tf.tasks.digits import MegapixelTask

    return MegapixelTask(
      megapixel=megapixel,
      sets=flags.read(config.MegapixelSetConfig),
      source=flags.read(config.DigitSourceConfig),
      **options,
    )
  images = flags.read(config.ImageConfig)
  options = _classifier_options(flags, images.image_shape)
  from wsram_tf.tasks.images import ImageTask

  return ImageTask(
    image_dir=flags.image_dir,
    dataset=flags.dataset,
    data_dir=flags.data_dir,
    download=flags.download,
    images=images,
    **options,
  )


def _make_regions(flags: ProgramFlags) -> Task:
  if not flags.regions:
    raise ValueError(f"manifest={flags.manifest!r}: must be given with regions")
  if flags.dataset:
    raise ValueError(f"dataset={flags.dataset!r}: must not be given with regions")
  images = flags.read(config.ImageConfig)
  options = _classifier_options(flags, images.image_shape)
  from wsram_tf.tasks.regions import RegionTask

  return RegionTask(image_dir=flags.image_dir, manifest=flags.manifest, images=images, **options)


def _define_captions(flags: ProgramFlags) -> None:
  flags.define_choice(
    "dataset",
    "scenes",
    CAPTION_SETS,
    "scenes (digits on canvases, made during training), flickr8k (photographs; give data_dir and "
    "backbone) or coco_captions (photographs of TensorFlow Datasets; give backbone)",
  )
  flags.define(config.CaptionEvaluationConfig)
  flags.define_path(
    "data_dir",
    "folder of dataset=flickr8k, or of prepared TensorFlow Datasets (coco_captions, digits=mnist)",
  )
  flags.define_bool(
    "download", False, "fetch dataset=coco_captions, digits=mnist, or a backbone's weights"
  )
  flags.define(config.DigitSourceConfig)
  flags.define(config.SceneEvaluationConfig)
  flags.define(SceneConfig)
  flags.define(config.PhotographConfig)
  flags.define(config.FeatureConfig)
  flags.define(
    CaptionModelConfig,
    leave_out=("height", "width", "channels", "vocabulary_size", "max_words"),
  )
  flags.define(CaptionLossConfig)
  flags.define(DecodingConfig)
  flags.define(ObjectiveConfig)
  flags.define(ExplorationConfig)


def _make_captions(flags: ProgramFlags) -> Task:
  shape: dict[str, Any] = {"max_words": CaptionModelConfig.max_words}
  if flags.dataset == "scenes":
    shape |= {"height": flags.canvas_side, "width": flags.canvas_side}
  options = {
    "model": flags.read(CaptionModelConfig, **shape),
    "loss": flags.read(CaptionLossConfig),
    "decoding": flags.read(DecodingConfig),
    "objective": flags.read(ObjectiveConfig),
    "exploration": flags.read(ExplorationConfig),
    "batches": flags.read(config.CaptionEvaluationConfig),
  }
  if flags.dataset == "scenes":
    from wsram_tf.tasks.scenes import SceneTask

    return SceneTask(
      scene=flags.read(SceneConfig),
      source=flags.read(config.DigitSourceConfig),
      evaluation=flags.read(config.SceneEvaluationConfig),
      **options,
    )
  features = flags.read(config.FeatureConfig)
  photographs = flags.read(config.PhotographConfig)
  from wsram_tf.tasks.photographs import PhotographTask

  return PhotographTask(
    dataset=flags.dataset,
    data_dir=flags.data_dir,
    download=flags.download,
    features=features,
    photographs=photographs,
    **options,
  )


PROGRAMS = {
  "train_mnist": TrainingProgram(
    define=_define_digits,
    make_task=_make_digits,
    tasks=("digits",),
    batch_size=128,
    estimators=tuple(objectives.ESTIMATORS),
    is_classifier=True,
  ),
  "train_classifier": TrainingProgram(
    define=_define_images,
    make_task=_make_images,
    tasks=("images", "needles", "megapixel", "regions"),
    batch_size=128,
    estimators=tuple(objectives.ESTIMATORS),
    is_classifier=True,
  ),
  "train_captions": TrainingProgram(
    define=_define_captions,
    make_task=_make_captions,
    tasks=("scenes", "photographs"),
    batch_size=64,
    estimators=("wake_sleep_equal_likelihood", "variational_leave_one_out"),
    is_classifier=False,
  ),
}
