"""What the exported signatures refuse, beyond what verify.py tries."""

import io

import cpp_loader
import examples
import numpy as np
import PIL.Image
import pytest


def ask(cpp, model_dir, *files):
  return cpp.run(model_dir, "classify_bytes", image_bytes=examples.as_bytes_array(list(files)))


def refusal(cpp, model_dir, *files):
  with pytest.raises(cpp_loader.ServingError) as error:
    ask(cpp, model_dir, *files)
  assert error.value.code == "INVALID_ARGUMENT"
  assert "image_bytes" in error.value.message
  return error.value.message


def encode(size=(36, 40), mode="L", **options):
  """A file of noise; size is (width, height)."""
  shape = [size[1], size[0], len(mode)] if len(mode) > 1 else [size[1], size[0]]
  pixels = np.random.RandomState(0).randint(0, 256, shape).astype(np.uint8)
  file = io.BytesIO()
  PIL.Image.fromarray(pixels, mode=None).save(file, **options)
  return file.getvalue()


@pytest.mark.parametrize(
  "options",
  [{"format": "PNG"}, {"format": "JPEG"}, {"format": "JPEG", "progressive": True}],
  ids=["PNG", "JPEG", "progressive JPEG"],
)
def test_a_file_cut_short_is_refused_wherever_it_is_cut(cpp, model_dir, options):
  contents = encode(**options)
  assert ask(cpp, model_dir, contents)["class_id"].shape == (1,)
  for length in range(0, len(contents) - 2, 7):
    refusal(cpp, model_dir, contents[:length])


@pytest.mark.parametrize("kind", ["GIF", "BMP", "WEBP", "TIFF"])
def test_other_kinds_of_images_are_refused(cpp, model_dir, kind):
  message = refusal(cpp, model_dir, encode(format="PNG"), encode(format=kind))
  assert "each row must be a PNG or JPEG file; these rows are not:] [1]" in message


def test_the_row_and_its_size_are_named(cpp, model_dir):
  right, wrong = encode(format="PNG"), encode(size=(40, 36), format="JPEG")
  message = refusal(cpp, model_dir, right, right, wrong)
  assert "must be 40 pixels high and 36 wide; row, height and width are:] [2] [36] [40]" in message


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA"])
def test_colour_and_alpha_are_dropped(cpp, model_dir, mode):
  assert ask(cpp, model_dir, encode(mode=mode, format="PNG"))["class_id"].shape == (1,)


def test_nothing_and_many(cpp, model_dir):
  assert ask(cpp, model_dir)["probabilities"].shape == (0, 10)
  many = ask(cpp, model_dir, *[encode(format="PNG"), encode(format="JPEG")] * 100)
  np.testing.assert_allclose(
    many["probabilities"], np.tile(many["probabilities"][:2], [100, 1]), atol=1e-6
  )


def test_a_png_of_no_size_or_a_huge_one(cpp, model_dir):
  contents = encode(format="PNG")
  for side in (0, 0x7FFFFFFF, 0xFFFFFFFF):
    header = contents[:16] + side.to_bytes(4, "big") * 2 + contents[24:]
    assert "pixels high" in refusal(cpp, model_dir, header)
