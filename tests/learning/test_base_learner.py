"""The interface that a task's learner must implement."""

import tensorflow as tf

import wsram_tf
from wsram_tf import learning


class AbstractMethodsTest(tf.test.TestCase):
  def test_an_incomplete_learner_cannot_be_made(self):
    class Incomplete(learning.BaseLearner):
      """Lacks every hook but one."""

      def score(self, drawn, targets):
        """Has no use."""

    with self.assertRaisesRegex(TypeError, "abstract.*make_prediction_network.*sample.*test_step"):
      Incomplete(wsram_tf.ModelConfig())


if __name__ == "__main__":
  tf.test.main()
