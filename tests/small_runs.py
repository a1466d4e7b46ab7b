"""Flags that cut any flagfile down to two updates of a small model on the embedded digits."""

__all__ = ["CANVASES", "PLAIN", "SCENES"]

_SHARED = (
  "--digits=mnist5k",
  "--validation_digits=20",
  "--batch_size=4",
  "--units=8",
  "--updates=2",
  "--evaluate_every=1",
)
# Two glimpses, since tracing many takes long.
CANVASES = (
  *_SHARED,
  "--validation_canvases=20",
  "--test_canvases=30",
  "--evaluation_batch_size=10",
  "--num_glimpses=2",
  "--jit_compile=off",
)
# For tests in which the model does not matter: the estimator and the sequence that trace fastest.
PLAIN = ("--estimator=variational", "--num_samples=1", "--num_glimpses=1")
SCENES = (
  *_SHARED,
  "--validation_scenes=10",
  "--test_scenes=12",
  "--evaluation_batch_size=6",
  "--word_units=4",
  "--cell=gru",
  "--grid_filters=2,2,2",
  "--most_digits=2",
  "--num_samples=2",
)
