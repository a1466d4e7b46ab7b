"""The flag that benchmarks with a plot share: absl refuses a flag that two imported modules define."""

from absl import flags

PLOT = flags.DEFINE_string("plot", None, "file for the plot, such as docs/images/image_size.png")
