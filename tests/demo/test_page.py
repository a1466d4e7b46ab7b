"""The page's server: right answers to many visitors at once, and refusals that leave it alive."""

import re
import tempfile
from concurrent import futures

import gradio_client
import httpx
import numpy as np
import PIL.Image
from absl.testing import absltest

from tests.support.serving import exports, pages
from wsram_tf import demo, serving


def client_of(address):
  return gradio_client.Client(address, verbose=False, analytics_enabled=False, download_files=False)


class PageTest(absltest.TestCase):
  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    cls.version = exports.model_dir()
    cls.model = serving.ExportedModel(cls.version)
    cls.address = cls.enterClassContext(pages.open_page(cls.version))

  def setUp(self):
    super().setUp()
    self.folder = exports.temporary_folder(self)

  def image_file(self, seed):
    pixels = np.random.RandomState(seed).randint(0, 256, [40, 36]).astype(np.uint8)
    path = self.folder / f"{seed}.png"
    PIL.Image.fromarray(pixels).save(path)
    return path

  def expected(self, path):
    answer = self.model.ask([path.read_bytes()])
    label = int(answer["class_id"][0])
    return f"<strong>{label}</strong> ({100 * answer['probabilities'][0][label]:.1f} %)"

  def test_visitors_at_once_get_their_own_answers(self):
    paths = [self.image_file(seed) for seed in range(6)]
    expected = [self.expected(path) for path in paths]
    self.assertGreater(len(set(expected)), 4)

    def visit(n):
      visitor = client_of(self.address)
      return [
        visitor.predict(gradio_client.handle_file(paths[k]), False, api_name="/look")
        for k in (n, (n + 4) % 6)
      ]

    with futures.ThreadPoolExecutor(6) as pool:
      for n, found in enumerate(pool.map(visit, range(6))):
        for k, answer in zip((n, (n + 4) % 6), found, strict=True):
          self.assertIn(expected[k], answer)
          self.assertEqual(answer.count('class="look since"'), 2)  # One a glimpse.
          self.assertEqual(answer.count('class="prior only"'), 2)

  def test_two_models_are_compared_on_one_image(self):
    path = self.image_file(0)
    with pages.open_page(self.version, self.version) as address:
      both = client_of(address).predict(gradio_client.handle_file(path), False, api_name="/look_2")
    self.assertLen(both, 2)
    for answer in both:
      self.assertIn(self.expected(path), answer)

  def test_refusals_name_the_rule_and_the_page_lives_on(self):
    text, good = self.folder / "text.png", self.image_file(3)
    text.write_text("no image")
    visitor = client_of(self.address)
    with self.assertRaisesRegex(Exception, "text.png: must be an image file"):
      visitor.predict(gradio_client.handle_file(text), False, api_name="/look")
    with tempfile.TemporaryFile() as large:
      large.truncate(60_000_000)
      large.seek(0)
      refused = httpx.post(
        f"{self.address}gradio_api/upload", files={"files": ("large.png", large)}, timeout=60
      )
    self.assertEqual(refused.status_code, 413)
    self.assertIn("maximum allowed size", refused.text)
    # A path that nobody uploaded is not read.
    stolen = {"path": str(self.version / "saved_model.pb"), "meta": {"_type": "gradio.FileData"}}
    with self.assertRaisesRegex(Exception, "(?i)path|file"):
      visitor.predict(stolen, False, api_name="/look")
    answer = visitor.predict(gradio_client.handle_file(good), False, api_name="/look")
    self.assertIn(self.expected(good), answer)

  def test_the_page_names_no_other_host(self):
    page = httpx.get(self.address).text
    loaded = re.findall(r'(?:src|href)="([^"]+)"', page)
    sheet = httpx.get(f"{self.address}theme.css").text
    self.assertNotEmpty(loaded)
    for target in loaded:
      self.assertNotRegex(target, r"^(https?:)?//")
    self.assertIn("system-ui", sheet)
    self.assertNotRegex(sheet, r"@import|url\([\"']?(https?:)?//")

  def test_no_model_and_three_are_refused(self):
    for models in ({}, {name: self.model for name in "abc"}):
      with self.assertRaisesRegex(ValueError, "page_models: must be one or two; got"):
        demo.build_page(models)


if __name__ == "__main__":
  absltest.main()
