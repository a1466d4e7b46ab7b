"""A client that keeps its images gets the answers of `serving_default`, wherever the model runs."""

import functools
import itertools

import numpy as np
import tensorflow as tf

from tests.support.serving import exports, model_servers
from wsram_tf.layers import GlimpseSensor
from wsram_tf.observations import area_means
from wsram_tf.serving import ExportedModel, ServingError, looking, manifests, protos
from wsram_tf.serving.clients import GrpcClient, RestClient, ServerError

NUM_CLIENTS = 1_000
# One image reaches the threshold after its first glimpse alone, the other after its second.
_ONE_AFTER_THE_OTHER = (([True, False], [False, True]), ([False, True], [True, False]))


@functools.cache
def model():
  return ExportedModel(exports.model_dir())


def random_images(*shape):
  return np.random.RandomState(3).randint(0, 256, shape).astype(np.float32) / np.float32(255)


def source_of(images):
  facts = manifests.read_manifest(exports.model_dir()).facts
  return looking.PixelSource(images, facts.glimpse_side, facts.glimpse_scales)


def serving_default(images):
  return model().exchange("serving_default", {"images": images}).outputs


class PixelSourceTest(tf.test.TestCase):
  def test_patches_are_the_glimpse_sensors(self):
    # Corners, beyond them, borders of pixels, and anywhere.
    places = [[-1, -1], [1, 1], [-1.2, 1.4], [0, 0], [0.05, -0.1], [0.3, 0.7], [-0.925, 0.475]]
    locations = np.array(places, np.float32)
    scales = np.arange(len(locations)) % 3
    for side, channels in ((5, 1), (8, 3)):
      images = random_images(len(locations), 40, 37, channels)
      source = looking.PixelSource(images, side, 3)
      sensor, choosing = GlimpseSensor(side, 3), GlimpseSensor(side, 3, choose_scale=True)
      self.assertAllEqual(
        source.patches(locations, None), sensor(sensor.prepare(images), tf.constant(locations))
      )
      actions = tf.constant(np.c_[locations, scales].astype(np.float32))
      self.assertAllEqual(
        source.patches(locations, scales), choosing(choosing.prepare(images), actions)
      )

  def test_low_resolution_copies_are_area_means(self):
    images = random_images(3, 40, 37, 3)
    for side in (1, 12, 37):
      copy = looking.PixelSource(images, 8, 1).low_resolution(side)
      self.assertEqual(copy.dtype, np.float32)
      self.assertAllClose(copy, area_means(tf.constant(images), side), atol=1e-6)


class LookAroundTest(tf.test.TestCase):
  def setUp(self):
    super().setUp()
    self.images = random_images(5, 40, 36, 1)

  def check_is_serving_defaults(self, looked):
    expected = serving_default(self.images)
    self.assertEqual(looked.answer.keys(), expected.keys())
    for name, output in expected.items():
      self.assertEqual(looked.answer[name].dtype, output.dtype)
      self.assertAllClose(looked.answer[name], output, atol=1e-5)

  def test_is_the_answer_of_serving_default(self):
    looked = looking.look_around(model(), source_of(self.images))
    self.check_is_serving_defaults(looked)
    self.assertIsNone(looked.scales)
    self.assertAllClose(looked.probabilities.sum(axis=-1), np.ones([5, 2]))
    self.assertGreater(np.abs(looked.probabilities[:, 0] - looked.probabilities[:, 1]).max(), 1e-3)

  def test_stops_once_every_image_has_reached_the_threshold(self):
    network = exports.make_network(num_glimpses=3, units=8)
    for weight in network.weights:  # Larger ones make answers that also lose confidence.
      weight.assign(3 * weight)
    folder = exports.temporary_folder(self)
    signatures = ("classify_bytes", "begin", "look")
    exports.write(folder, network, signatures=signatures)
    model = ExportedModel(folder / "digits")
    full = looking.look_around(model, source_of(self.images))
    sure = full.probabilities.max(axis=-1)
    self.assertAllEqual(full.glimpses, np.full(5, 3))
    surest_late = 0
    for pair in map(list, itertools.combinations(range(5), 2)):
      for threshold in (0.0, *(sure[pair, :2].ravel() - 1e-4), 1.0):
        looked = looking.look_around(model, source_of(self.images[pair]), threshold)
        reached = sure[pair] >= threshold
        surest_late += (reached.tolist()[0][:2], reached.tolist()[1][:2]) in _ONE_AFTER_THE_OTHER
        reached[:, -1] = True
        glimpses = 1 + reached.argmax(axis=1)
        with self.subTest(pair=pair, threshold=threshold):
          self.assertAllEqual(looked.glimpses, glimpses)
          last = glimpses.max()
          self.assertEqual(looked.probabilities.shape[1], last)
          self.assertAllClose(looked.locations, full.locations[pair, :last], atol=1e-5)
          self.assertAllClose(looked.probabilities, full.probabilities[pair, :last], atol=1e-5)
          stands = full.probabilities[pair, glimpses - 1]
          self.assertAllClose(looked.answer["probabilities"], stands, atol=1e-5)
          self.assertAllEqual(looked.answer["class_id"], stands.argmax(axis=-1))
    self.assertGreater(surest_late, 0)

  def test_a_threshold_is_a_probability(self):
    for threshold in (-0.1, 1.5, float("nan")):
      with self.assertRaisesRegex(ValueError, f"threshold={threshold}: must be from 0 to 1"):
        looking.look_around(model(), source_of(self.images), threshold)

  def test_the_bytes_are_those_of_the_tensors(self):
    looked = looking.look_around(model(), source_of(self.images))
    state, copy, patches = 1 + 2 + 4 * 48, 12 * 12, 2 * 8 * 8
    self.assertEqual(looked.bytes_sent, 5 * 4 * (copy + 2 * (state + patches)))
    self.assertEqual(looked.bytes_received, 5 * 4 * (3 * (state + 2 + 2) + 2 * (10 + 2)))

  def test_clients_in_any_batches(self):
    images = random_images(NUM_CLIENTS, 40, 36, 1)
    expected, generator = serving_default(images), np.random.RandomState(0)
    copies = source_of(images).low_resolution(12)
    taken = np.full(NUM_CLIENTS, -1)  # -1 before the client begins.
    locations, probabilities = np.zeros([NUM_CLIENTS, 2, 2]), np.zeros([NUM_CLIENTS, 10])
    states = np.zeros([NUM_CLIENTS, *model().signatures["look"].inputs["state"].row_shape], "f")
    mixed = 0
    while (taken < 2).any():
      unfinished = generator.permutation(np.flatnonzero(taken < 2))
      rows = unfinished[: generator.randint(1, 300)]
      new, old = rows[taken[rows] < 0], rows[taken[rows] >= 0]
      mixed += len(np.unique(taken[old])) > 1
      begun = model().exchange("begin", {"low_resolution": copies[new]}).outputs
      # At the border of two pixels, rounding would cut another patch.
      places = expected["locations"][old, taken[old]]
      patches = source_of(images[old]).patches(places, None)
      looked = model().exchange("look", {"state": states[old], "patches": patches}).outputs
      states[new], states[old] = begun["state"], looked["state"]
      self.assertAllEqual(looked["glimpses_left"], 1 - taken[old])
      probabilities[old] = looked["probabilities"]
      taken[rows] += 1
      for clients, answer in ((new, begun), (old, looked)):
        going_on = taken[clients] < 2
        clients = clients[going_on]
        locations[clients, taken[clients]] = answer["location"][going_on]
    self.assertGreater(mixed, 5)
    self.assertAllClose(locations, expected["locations"], atol=1e-5)
    self.assertAllClose(probabilities, expected["probabilities"], atol=1e-5)

  def test_servers_answer_the_same(self):
    here = looking.look_around(model(), source_of(self.images))
    for kind, open_server, extra in (
      (GrpcClient, model_servers.grpc_server, 1.15),
      (RestClient, model_servers.rest_server, 4.0),
    ):
      with self.subTest(kind.__name__), open_server() as server:
        client = kind(server, "digits")
        self.assertEqual(client.signatures, model().signatures)
        looked = looking.look_around(client, source_of(self.images))
        self.check_is_serving_defaults(looked)
        self.assertAllEqual(looked.probabilities, here.probabilities)
        self.assertBetween(looked.bytes_sent, here.bytes_sent, extra * here.bytes_sent)
        self.assertBetween(looked.bytes_received, here.bytes_received, extra * here.bytes_received)
        with self.assertRaisesRegex(ServerError, "state: must be finite"):
          state = np.full([1, *model().signatures["look"].inputs["state"].row_shape], np.nan, "f")
          patches = source_of(self.images[:1]).patches(np.zeros([1, 2]), None)
          client.exchange("look", {"state": state, "patches": patches})

  def test_no_glimpse_follows_the_last(self):
    looked = looking.look_around(model(), source_of(self.images))
    state = model().exchange("begin", {"low_resolution": np.zeros([1, 12, 12, 1], "f")}).outputs
    patches = source_of(self.images[:1]).patches(looked.locations[:1, 0], None)
    inputs = {"state": state["state"], "patches": patches}
    for _ in range(2):
      inputs["state"] = model().exchange("look", inputs).outputs["state"]
    with self.assertRaisesRegex(
      ServingError, r"must be a whole number from 0 to 1; .* \[0\] \[2\]"
    ) as at:
      model().exchange("look", inputs)
    self.assertEqual(at.exception.code, "INVALID_ARGUMENT")

  def test_other_models_and_sources_are_refused(self):
    class Old:
      signatures = {"serving_default": protos.Signature({}, {})}

    with self.assertRaisesRegex(ValueError, "model: must have the signatures begin and look"):
      looking.look_around(Old(), source_of(self.images))
    for name, method, words in (
      ("low_resolution", lambda side: np.zeros([5, side, side, 3]), r"\[5, 12, 12, 1\]; got"),
      ("patches", lambda at, scales: np.zeros([4, 2, 8, 8, 1]), r"\[5, 2, 8, 8, 1\]; got \[4,"),
    ):
      wrong = source_of(self.images)
      setattr(wrong, name, method)
      with self.assertRaisesRegex(ValueError, f"source: {name} must have shape {words}"):
        looking.look_around(model(), wrong)
    with self.assertRaisesRegex(ValueError, r"must have shape \[1, 12, 12, 1\]; got \[0, 12"):
      looking.look_around(model(), source_of(self.images[:0]))


if __name__ == "__main__":
  tf.test.main()
