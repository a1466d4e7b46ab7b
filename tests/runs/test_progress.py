"""The lines that a run prints."""

import contextlib
import io

import keras
import numpy as np
import tensorflow as tf

from wsram_tf.runs.loop.progress import Progress


class ProgressTest(tf.test.TestCase):
  def test_the_compilation_is_announced_once_before_the_first_update(self):
    model = keras.Sequential([keras.Input([1]), keras.layers.Dense(1)])
    model.compile("sgd", "mse", run_eagerly=True)
    progress = Progress(2, {}, lambda figures: "evaluated")
    data = (np.ones([2, 1]), np.ones([2, 1]))
    with contextlib.redirect_stdout(io.StringIO()) as printed:
      # As a resumed run begins that was stopped within an evaluation.
      keras.callbacks.CallbackList([progress], model=model).on_train_begin()
      self.assertEqual(printed.getvalue(), "")
      for _ in range(2):  # A run trains in two parts after a stop between evaluations.
        model.fit(*data, batch_size=2, callbacks=[progress], verbose=0)
    announced, *evaluated = printed.getvalue().splitlines()
    self.assertIn("compiling the training step", announced)
    self.assertEqual(evaluated, ["update 1 of 2: evaluated", "update 2 of 2: evaluated"])


if __name__ == "__main__":
  tf.test.main()
