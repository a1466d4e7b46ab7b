"""The sources of captions by name, and the flags that choose and describe one."""

import captions
import digit_scenes
import flag_groups
import photo_captions
from absl import flags
from run_folder import RunFolder

__all__ = ["define_flags", "make_source"]

SOURCES = {
  "scenes": digit_scenes.DigitScenes,
  "flickr8k": photo_captions.PhotoCaptions,
  "coco_captions": photo_captions.PhotoCaptions,
}


def define_flags() -> None:
  """Defines the flags of all sources."""
  flag_groups.define(captions.CaptionDataConfig)
  digit_scenes.define_flags()
  photo_captions.define_flags()
  flag_groups.define_path(
    "data_dir",
    "folder of dataset=flickr8k, or of prepared TensorFlow Datasets (coco_captions, digits=mnist)",
  )
  flags.DEFINE_bool(
    "download", False, "fetch dataset=coco_captions, digits=mnist, or a backbone's weights"
  )


def make_source(run: RunFolder | None) -> captions.CaptionSource:
  """Makes the source that the flags name; see `captions.CaptionSource`."""
  return SOURCES[flags.FLAGS.dataset](run)
