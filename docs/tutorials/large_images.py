"""
Title: Large images: files that are never loaded
Description: Makes pyramids, trains on regions of them, and marks where the model looked.
Accelerator: None
"""

"""
## Introduction

A slide of 100,000 x 100,000 pixels fits into no memory, and most of it is empty. The model of this
tutorial reads a small copy of a file and the few regions that its glimpses cover. Its cost does not
depend on the size of the file.

The steps are those for your own slides: make pyramids of files that are not pyramids yet, train,
export, and mark in each file where the model looked. The files here are small ones, drawn with
Pillow. The tutorial needs the extra `slides`:

```bash
pip install ".[slides]"
```

The output on this page is that of one run, seed 1, on two shared cores of an AMD EPYC, 2026-11-27.
"""

"""
## Setup
"""

import json
import pathlib
import tempfile

import numpy as np
import PIL.Image
import PIL.ImageDraw

import wsram_tf
from wsram_tf import export, runs, serving, tasks
from wsram_tf.data.regions import pyramids, search
from wsram_tf.data.regions.reader import PatchShape

SIDE = 1536
SHAPE_SIDE = 96
IMAGES_A_CLASS = 60
CONTEXT_SIDE = 32
GLIMPSE_SIDE = 24
GLIMPSE_SCALES = 4
UPDATES = 300
EVALUATE_EVERY = 100
BATCH_SIZE = 16
UNITS = 64
GLIMPSES = 2
VERIFY = True  # False leaves the verification of the export out.

folder = pathlib.Path(tempfile.mkdtemp())
print("files:", folder)

"""
## Large images

Each image shows one shape of 96 pixels, about a three-hundredth of the area, somewhere on dark
grain. Half of the images are a quarter wider than high.
"""

CLASSES = {
  "triangle": [(0.5, 0.0), (1.0, 1.0), (0.0, 1.0)],
  "square": [(0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0)],
  "hourglass": [(0.0, 0.0), (1.0, 0.0), (0.0, 1.0), (1.0, 1.0)],
}
generator = np.random.default_rng(1)
grain = generator.integers(0, 60, [SIDE, SIDE + SIDE // 4], np.uint8)


def draw_image(name: str, number: int) -> PIL.Image.Image:
  """Draws an image of a class, grey, of 8 bits."""
  width = SIDE + (SIDE // 4 if number % 2 else 0)
  image = PIL.Image.fromarray(
    np.roll(grain, generator.integers(SIDE), axis=0)[:, :width].copy()
  )
  left, top = (
    int(generator.integers(0, most - SHAPE_SIDE)) for most in (width, SIDE)
  )
  corners = [
    (left + x * SHAPE_SIDE, top + y * SHAPE_SIDE) for x, y in CLASSES[name]
  ]
  PIL.ImageDraw.Draw(image).polygon(
    corners, fill=int(generator.integers(150, 256))
  )
  return image


for name in CLASSES:
  (folder / "images" / name).mkdir(parents=True)
  for number in range(IMAGES_A_CLASS):
    draw_image(name, number).save(
      folder / "images" / name / f"{number:03d}.jpg", quality=90
    )

"""
## Pyramids

A pyramid is a TIFF file of tiles, with levels that each halve the one before, so that a region can
be read at any resolution without the rest. `convert_folder` makes one of each image and keeps the
folders of the classes; the program `make_pyramids.py` does the same. Slides of Aperio, Hamamatsu
and other makers are pyramids already.
"""

converted = list(
  pyramids.convert_folder(folder / "images", folder / "slides", "jpeg")
)
print(
  sum(one.is_new for one in converted),
  "pyramids,",
  sum(bool(one.error) for one in converted),
)

"""
## Train

A glimpse has patches of 24 pixels at four scales, which cover 24 to 192 pixels of full resolution.
The copy has 32 x 32 cells, and `keyed_grid` chooses one of them for each glimpse. The copy only has
to show that there is something: a cell covers 48 pixels or more, so a shape is a blot of two cells
a side. What it is, only the glimpses see.

`location_saliency` starts the search at conspicuous cells, and `no_return` never looks at a cell
twice. The copy shows where to look, so no inference network is needed. XLA cannot compile a model
that reads files.
"""

task = tasks.RegionTask(
  image_dir=folder / "slides",
  images=tasks.ImageConfig(
    image_height=SIDE // 4,
    image_width=SIDE // 4,
    color="grey",
    evaluation_batch_size=50,
  ),
  model=wsram_tf.ModelConfig(
    units=UNITS,
    num_glimpses=GLIMPSES,
    context_side=CONTEXT_SIDE,
    context_pool=4,
    glimpse=wsram_tf.GlimpseConfig(
      glimpse_side=GLIMPSE_SIDE, glimpse_scales=GLIMPSE_SCALES
    ),
    location=wsram_tf.LocationConfig(
      "keyed_grid",
      location_filters=(8,),
      location_units=16,
      location_saliency=1.0,
      no_return=True,
    ),
  ),
  objective=wsram_tf.ObjectiveConfig(
    "wake_sleep_prior_equal_likelihood", num_samples=4
  ),
)
run = runs.train(
  task,
  folder / "run",
  wsram_tf.TrainingConfig(batch_size=BATCH_SIZE, evaluate_every=EVALUATE_EVERY),
  wsram_tf.OptimizerConfig(updates=UPDATES, learning_rate=0.002),
)
for name in (
  "training_images",
  "test_images",
  "files_left_out",
  "test_error_percent",
):
  print(f"{name:20} {run.results[name]}")

"""
```text title="output"
training_images      130
test_images          36
files_left_out       []
test_error_percent   0.0
```

## Look around in a file

A learner of regions takes paths wherever others take images.
"""

paths = []
for number, name in enumerate(CLASSES):
  image, path = folder / f"new_{name}.png", folder / f"new_{name}.tif"
  draw_image(name, number).save(image)
  pyramids.convert(image, path)
  paths.append(str(path))
labels = np.array([task.class_names.index(name) for name in CLASSES])
wsram_tf.show_glimpses(
  run.learner, np.array(paths), labels, class_names=task.class_names
).savefig(folder / "glimpses.png")

"""
The picture of a longer training on files of 4,000 pixels a side with a digit of 224 pixels:

![a large image with small glimpse squares around its digit, and the patches of the
glimpses](../images/search.png)

## Serve without sending the file

The file stays where it is. `look_around` sends the copy to the signature `begin` and the patches of
each glimpse to `look`, of an export as here or of a server, and `RegionSource` reads both from the
files.
"""

version = export.export_classifier(
  run.path, folder / "models", name="slides", verify=VERIFY
)
model = serving.ExportedModel(version)
shape = PatchShape(*model.glimpses, channels=1)
source = search.RegionSource(paths, shape)
looked = serving.look_around(model, source)
for b, path in enumerate(paths):
  height, width = source.sizes[b]
  found = model.class_names[looked.answer["class_id"][b]]
  print(f"{pathlib.Path(path).name}, {height} x {width} pixels: {found}")
print(f"sent {looked.bytes_sent / len(paths) / 1e3:.1f} kB a file")

"""
```text title="output"
new_triangle.tif, 1536 x 1536 pixels: triangle
new_square.tif, 1536 x 1920 pixels: square
new_hourglass.tif, 1536 x 1536 pixels: hourglass
sent 32.8 kB a file
```

## Mark the glimpses

`places_of` turns the glimpses of one file into squares in pixels of full resolution. As GeoJSON,
viewers of slides such as QuPath show them over the file.
"""

for b, path in enumerate(paths):
  places = search.places_of(
    looked.locations[b],
    None,
    looked.probabilities[b],
    source.sizes[b],
    shape,
    model.class_names,
  )
  search.write_geojson(pathlib.Path(path).with_suffix(".geojson"), places)
marked = json.loads(pathlib.Path(paths[0]).with_suffix(".geojson").read_text())
print(
  len(marked["features"]),
  "squares, the first:",
  marked["features"][0]["properties"],
)

"""
```text title="output"
8 squares, the first: {'name': 'glimpse 1', 'glimpse': 1, 'scale': 0,
'class_name': 'hourglass', 'probability': 0.950226902961731}
```

After its first glimpse, the model took this triangle for an hourglass. After the second, it
answered rightly.

`predict.py --regions --draw_dir=DIR` writes the same file for each slide, and a picture of the
search.

## Next

- [Large images](../large_images.md): formats, sets with groups such as patients, levels, settings.
- [Needles](../own_images.md#needles): how to search for small objects.
"""
