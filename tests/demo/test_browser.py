"""The page in a real browser, headless Chromium, where one and its driver are installed."""

import contextlib
import os
import pathlib
import shutil
import tempfile
import time
import unittest

from absl.testing import absltest
from selenium import webdriver
from selenium.webdriver import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from tests.support.serving import exports, pages

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
# A seven, in pixels from the middle of the field.
SEVEN = [(-60, -60), (-20, -60), (20, -60), (45, -60), (30, -30), (10, 0), (-5, 30), (-15, 60)]
# Where the screenshots are left, to be looked at.
SCREENSHOTS = os.environ.get("DEMO_SCREENSHOTS")


@contextlib.contextmanager
def browser():
  options = webdriver.ChromeOptions()
  options.binary_location = CHROMIUM
  with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
    for argument in (
      "--headless=new",
      "--no-sandbox",
      "--disable-gpu",
      "--disable-quic",
      "--no-first-run",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
      f"--user-data-dir={profile}",
    ):
      options.add_argument(argument)
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    try:
      yield driver
    finally:
      driver.quit()


@unittest.skipUnless(CHROMIUM and DRIVER, "needs chromium and chromedriver")
class BrowserTest(absltest.TestCase):
  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    version = pages.reader_of_digits()
    page = pages.open_page(version, examples=[version / "assets.extra/example.png"])
    cls.address = cls.enterClassContext(page)
    cls.driver = cls.enterClassContext(browser())

  def open(self, width, height):
    """Opens the page anew, on a screen of a size in pixels."""
    # Chromium has no window narrower than 500 pixels.
    screen = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": True}
    self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
    self.driver.get(self.address)
    self.assertEqual(self.driver.execute_script("return screen.width"), width)

  def one(self, selector):
    """The first visible element, as soon as there is one."""

    def find(driver):
      return [e for e in driver.find_elements(By.CSS_SELECTOR, selector) if e.is_displayed()]

    wait = WebDriverWait(self.driver, 20, poll_frequency=0.05)
    return wait.until(find, f"no visible {selector}")[0]

  def wait_for(self, condition, message, seconds=20):
    WebDriverWait(self.driver, seconds, poll_frequency=0.05).until(lambda _: condition(), message)

  def draw(self, points):
    canvas = self.one(".drawing canvas")
    self.driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", canvas)
    pen = ActionChains(self.driver, duration=20)
    pen.move_to_element_with_offset(canvas, *points[0]).click_and_hold()
    for x, y in points[1:]:
      pen.move_to_element_with_offset(canvas, x, y)
    pen.release().perform()

  def tab(self, name):
    xpath = f"//button[@role='tab'][normalize-space()='{name}']"
    self.wait_for(lambda: self.driver.find_elements(By.XPATH, xpath), f"no tab {name}")
    self.driver.find_element(By.XPATH, xpath).click()

  def upload(self, path):
    # Gradio hides the input behind its own field.
    field = self.driver.find_element(By.CSS_SELECTOR, ".upload input[type=file]")
    field.send_keys(str(path))

  def screenshot(self, name):
    if SCREENSHOTS:
      self.driver.save_screenshot(str(pathlib.Path(SCREENSHOTS, name)))

  def visible_step(self):
    return self.one(".player .which").text

  def test_a_drawn_seven_is_read_and_played(self):
    for name, width, height in (("wide", 1200, 900), ("narrow", 390, 844)):
      with self.subTest(name):
        self.open(width, height)
        self.one(".drawing canvas")
        self.draw(SEVEN)
        began = time.perf_counter()
        self.assertStartsWith(self.one(".player .answer").text, "7 (")
        self.assertLess(time.perf_counter() - began, 3)
        self.assertEqual(self.visible_step(), "4 of 4")
        self.screenshot(f"{name}.png")

        self.one(".player .play").click()
        seen = []

        def at_the_end(seen=seen):
          step = self.visible_step()
          if step not in seen:
            seen.append(step)
          return step == "4 of 4"

        self.wait_for(at_the_end, "it does not play to the end")
        self.assertEqual(seen, [f"{n} of 4" for n in range(1, 5)])
        self.wait_for(lambda: self.one(".player .play").text == "Play", "it does not stop")

        slider = self.one(".player .at")
        slider.send_keys("\ue012" * 3)  # The arrow to the left.
        self.assertEqual(self.visible_step(), "1 of 4")
        self.assertEqual(self.one(".player .steps h4").text, "What glimpse 1 saw")
        squares = self.driver.find_elements(By.CSS_SELECTOR, ".player .look:not(.away)")
        self.assertLen(squares, 1)

        prior = self.driver.find_element(By.CSS_SELECTOR, ".player .prior.now")
        self.assertEqual(prior.value_of_css_property("visibility"), "hidden")
        self.one(".player .show-prior").click()
        self.assertEqual(prior.value_of_css_property("visibility"), "visible")
        self.screenshot(f"{name}_first_glimpse.png")
        # Nothing is wider than the screen.
        across = "return document.documentElement.scrollWidth - window.innerWidth"
        self.assertLessEqual(self.driver.execute_script(across), 0)
        self.check_that_nothing_came_from_elsewhere()

  def test_examples_answer_and_broken_files_are_refused(self):
    folder = exports.temporary_folder(self)
    broken = folder / "broken.png"
    broken.write_text("no image")
    self.open(1200, 900)
    self.tab("Picture")
    self.one(".examples button img").click()
    self.assertRegex(self.one(".player .answer").text, r"^\d \(\d")
    before = self.one(".player .answer").text
    self.one('.upload [aria-label="Clear"], .upload [aria-label="Remove this file"]').click()
    self.wait_for(
      lambda: self.driver.find_elements(By.CSS_SELECTOR, ".upload input[type=file]"), "no input"
    )
    self.upload(broken)
    message = self.one(".toast-body").text
    self.assertIn("broken.png: must be an image file", message)
    self.screenshot("refused.png")
    # The page lives on.
    self.tab("Draw")
    self.draw(SEVEN)
    self.wait_for(lambda: self.one(".player .answer").text.startswith("7 ("), before)

  def check_that_nothing_came_from_elsewhere(self):
    names = "return performance.getEntriesByType('resource').map(entry => entry.name)"
    loaded = self.driver.execute_script(names)
    self.assertNotEmpty(loaded)
    for address in loaded:
      self.assertTrue(address.startswith((self.address, "data:")), address)


if __name__ == "__main__":
  absltest.main()
