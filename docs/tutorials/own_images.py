"""
Title: Your own images: a folder for each class
Description: Trains on a folder of files, reads the confusion matrix, and answers about new files.
Accelerator: None
"""

"""
## Introduction

Put the image files of each class in a folder of their own. The files may have any sizes and formats
(JPEG, PNG, TIFF, WebP). This tutorial draws such a folder with Pillow, trains on it, looks at the
classes that the model confuses, and asks about files that it has never seen. The output on this
page is that of one run, seed 1, on two shared cores of an AMD EPYC, 2026-11-27.
"""

"""
## Setup
"""

import csv
import pathlib
import tempfile

import numpy as np
import PIL.Image
import PIL.ImageDraw

import wsram_tf
from wsram_tf import runs, serving, tasks
from wsram_tf.serving import models

IMAGES_A_CLASS = 400
UPDATES = 1000
EVALUATE_EVERY = 250
BATCH_SIZE = 64
UNITS = 128
GLIMPSES = 4
JIT_COMPILE = "auto"  # XLA compiles for a while, and makes the updates faster.

folder = pathlib.Path(tempfile.mkdtemp())
print("files:", folder)

"""
## The folder

Each file shows one shape in one colour, at a place and in a size of its own, on a dark ground with
noise. Half of the files are JPEG, half PNG. Replace `folder / "shapes"` by the folder of your own
images, and leave this section out.
"""

CLASSES = {
  "circle": None,
  "triangle": [(0.5, 0.0), (1.0, 1.0), (0.0, 1.0)],
  "square": [(0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0)],
  "diamond": [(0.5, 0.0), (1.0, 0.5), (0.5, 1.0), (0.0, 0.5)],
}


def draw_shape(name: str, generator: np.random.Generator) -> PIL.Image.Image:
  """Draws a shape of 16 to 40 pixels on an image of 80 to 160 pixels a side."""
  width, height = (int(side) for side in generator.integers(80, 161, 2))
  image = PIL.Image.fromarray(
    generator.integers(0, 60, [height, width, 3], np.uint8)
  )
  side = int(generator.integers(16, 41))
  left, top = (
    int(generator.integers(0, most - side)) for most in (width, height)
  )
  colour = tuple(int(value) for value in generator.integers(120, 256, 3))
  draw = PIL.ImageDraw.Draw(image)
  if CLASSES[name] is None:
    draw.ellipse([left, top, left + side, top + side], fill=colour)
  else:
    draw.polygon(
      [(left + x * side, top + y * side) for x, y in CLASSES[name]], fill=colour
    )
  return image


generator = np.random.default_rng(1)
for name in CLASSES:
  (folder / "shapes" / name).mkdir(parents=True)
  for number in range(IMAGES_A_CLASS):
    ending = "png" if number % 2 else "jpg"
    draw_shape(name, generator).save(
      folder / "shapes" / name / f"{number:04d}.{ending}"
    )

"""
## The task

`ImageTask` reads the folder. The names of its subfolders are the names of the classes. It holds out
a fifth of each class for the test, and a tenth of the rest to choose the weights.

`fit="pad"` keeps the proportions of an image, on black; `fit="resize"` would stretch it.
`augment_crop` moves each training image by up to so many pixels, differently each time. Damaged
files are counted, named and left out.
"""

images = tasks.ImageConfig(
  image_height=100, image_width=100, fit="pad", augment_crop=8
)
task = tasks.ImageTask(
  image_dir=folder / "shapes",
  images=images,
  model=wsram_tf.ModelConfig(units=UNITS, num_glimpses=GLIMPSES),
  objective=wsram_tf.ObjectiveConfig("wake_sleep_equal_likelihood"),
)

"""
## Train
"""

run = runs.train(
  task,
  folder / "run",
  wsram_tf.TrainingConfig(
    batch_size=BATCH_SIZE,
    evaluate_every=EVALUATE_EVERY,
    jit_compile=JIT_COMPILE,
  ),
  wsram_tf.OptimizerConfig(updates=UPDATES),
)
for name in ("training_images", "test_images", "test_error_percent"):
  print(f"{name:20} {run.results[name]}")

"""
```text title="output"
training_images      1152
test_images          320
test_error_percent   6.25
```

`glimpses.png` in the folder of the run shows test images with their glimpses, right answers left,
wrong ones right.

## Which classes are confused

The run counts the answers to the test images: `confusion.csv` has a row for each class and a column
for each answer, `confusion.png` is its picture, and `classes.csv` has the accuracy of each class
and its worst confusion.
"""

with (run.path / "confusion.csv").open(newline="") as file:
  header, *rows = csv.reader(file)
confusion = np.array([row[1:] for row in rows], int)
print((run.path / "confusion.csv").read_text())
print((run.path / "classes.csv").read_text())

"""
```text title="output"
class,circle,diamond,square,triangle
circle,72,5,2,1
diamond,1,78,0,1
square,5,2,73,0
triangle,0,3,0,77

class,images,accuracy_percent,most_confused_with,its_percent
circle,80,90.00,diamond,6.25
diamond,80,97.50,circle,1.25
square,80,91.25,circle,6.25
triangle,80,96.25,diamond,3.75
```

## Answer about new files

`prepare_image` brings a file to the size of the model as the training did, and `as_images` decodes
it.
"""

new_files = []
for name in CLASSES:
  new_files.append(folder / f"new_{name}.png")
  draw_shape(name, generator).save(new_files[-1])
new_images = []
for path in new_files:
  contents, note = serving.prepare_image(path, images.image_shape, images.fit)
  new_images.append(models.as_images(contents, channels=3))
  print(f"{path.name}: {note}")
new_images = np.concatenate(new_images)  # [4, 100, 100, 3]

answer = run.learner.predict(new_images, verbose=0)
for path, class_id, found in zip(
  new_files, answer["class_id"], answer["probabilities"], strict=True
):
  print(f"{path.name}: {task.class_names[class_id]} ({100 * found.max():.0f}%)")
wsram_tf.show_glimpses(
  run.learner, new_images, class_names=task.class_names
).savefig(folder / "new_files.png")

r"""
```text title="output"
new_circle.png: padded and resized from 91 x 140 to 100 x 100 pixels ...
new_triangle.png: padded and resized from 145 x 142 to 100 x 100 pixels ...
new_square.png: padded and resized from 127 x 117 to 100 x 100 pixels ...
new_diamond.png: padded and resized from 80 x 152 to 100 x 100 pixels ...
new_circle.png: circle (100%)
new_triangle.png: triangle (100%)
new_square.png: square (100%)
new_diamond.png: circle (58%)
```

The diamond is misread, with a low probability. `new_files.png` shows where the model looked.

To answer without TensorFlow's Python package, or on a server, [export](serving.md) the run. The
programs do all of this from the shell:

```bash
python trainers/train_classifier.py --image_dir=DIR \
  --flagfile=trainers/flagfiles/own_images.flags --run_dir=runs/own
python export/export_classifier.py --run_dir=runs/own --export_dir=models --name=own
python export/predict.py --model_dir=models/own IMAGE...
```

## Next

- [Your own images](../own_images.md) describes all settings of the data, and large canvases.
- [Large images](large_images.md): files that are too large to load.
- [Serving](serving.md): export the run, and ask the export.
"""
