"""The flag that benchmarks with a plot share; absl refuses to define one twice."""

from absl import flags

PLOT = flags.DEFINE_string("plot", None, "file for the plot, such as docs/images/image_size.png")
