"""A version that fails its verification, in another process, is not published."""

import re

import tensorflow as tf

from tests.support.serving import exports
from wsram_tf.export import VerificationError, publishing


class PublishingTest(tf.test.TestCase):
  def test_a_version_that_fails_its_verification_is_not_published(self):
    folder, network = exports.temporary_folder(self), exports.one_glimpse_network()
    shape = [None, *network.config.image_shape]

    @tf.function(autograph=False, input_signature=[tf.TensorSpec(shape, tf.float32, "images")])
    def serving_default(images):  # It checks the shape, and no number.
      return network(tf.ensure_shape(images, shape))

    module, lines = tf.Module(), []
    module.weights = [weight.value for weight in network.weights]
    signatures = {"serving_default": serving_default.get_concrete_function()}
    facts = exports.make_facts(network)
    with self.assertRaisesRegex(VerificationError, "so nothing was published\n  refusals") as error:
      publishing.publish(folder / "models", module, signatures, facts, report=lines.append)
    self.assertIn("NaN: answered instead of refused", str(error.exception))
    self.assertFalse(list(folder.iterdir()))
    failed = re.findall(r"^(\S.*?) +FAILED ", "\n".join(lines), re.MULTILINE)
    self.assertEqual(failed, ["refusals"])
    model_dir = publishing.publish(folder, module, signatures, facts, verify=False)
    self.assertEqual(model_dir, folder / "digits/1")


if __name__ == "__main__":
  tf.test.main()
