"""
Title: Captions: describe scenes word by word
Description: Trains a captioner, which looks once before each word, and draws where it looked.
Accelerator: None
"""

"""
## Introduction

The captioner takes one glimpse before each word. A convolutional network turns the image into a
grid of features, and a glimpse is one cell of the grid. The words of a caption are therefore tied
to places, and a picture shows which.

The data are scenes: one or two real digits, small or large, with captions such as `a large three
left of a small seven`. The scenes are drawn while the model trains. A parser checks each caption
against its scene, so "right" means right in every word. The output on this page is that of one run,
seed 1, on two shared cores of an AMD EPYC, 2026-11-27.
"""

"""
## Setup
"""

import pathlib
import tempfile

import keras

import wsram_tf
from wsram_tf import drawing, export, runs, serving, tasks
from wsram_tf.captions.data import scene_language, scenes
from wsram_tf.data import digits
from wsram_tf.serving import models

MOST_DIGITS = 2
UPDATES = 1500
EVALUATE_EVERY = 500
BATCH_SIZE = 64
UNITS = 128
GRID_FILTERS = (16, 32, 64)
NUM_SAMPLES = 4
TEST_SCENES = 1000
VERIFY = True  # False leaves the verification of the export out.

folder = pathlib.Path(tempfile.mkdtemp())
print("files:", folder)

"""
## The task

The canvas has 48 x 48 pixels. Each of the three convolutions halves the image, so the grid has 6 x
6 cells. Three settings tie a glimpse to what it shows: `grid_reach=1` keeps a cell from seeing far
beyond its own place, `grid_places="smooth"` keeps single cells from standing for words, and
`credit_horizon=1` weighs each glimpse by its own word alone. The entropy bonus makes the model look
around at first.

The estimator draws a fifth of the samples from the prior and the rest from the inference network,
which reads the caption.
"""

scene = wsram_tf.SceneConfig(
  canvas_side=48,
  smallest_small=11,
  largest_small=13,
  smallest_large=19,
  largest_large=24,
  most_digits=MOST_DIGITS,
)
task = tasks.SceneTask(
  scene=scene,
  model=wsram_tf.CaptionModelConfig(
    units=UNITS, grid_filters=GRID_FILTERS, grid_reach=1, grid_places="smooth"
  ),
  objective=wsram_tf.ObjectiveConfig(
    "wake_sleep_mixture_equal_likelihood",
    num_samples=NUM_SAMPLES,
    prior_fraction=0.2,
  ),
  exploration=wsram_tf.ExplorationConfig(
    entropy_bonus=0.01, entropy_bonus_updates=max(UPDATES // 4, 1)
  ),
  loss=wsram_tf.CaptionLossConfig(credit_horizon=1),
  evaluation=tasks.SceneEvaluationConfig(
    validation_scenes=max(TEST_SCENES // 2, 1), test_scenes=TEST_SCENES
  ),
)

"""
Six scenes to ask about later, and the five captions that describe the first one:
"""

test = scenes.evaluation_scenes(
  digits.load_digits("mnist5k", num_validation=400).test,
  num_scenes=6,
  seed=11,
  **scene.arguments(),
)
for caption in test.captions[0]:
  print(scene_language.VOCABULARY.decode(caption))

"""
```text title="output"
a large one right of a small two
a small two left of a large one
there is a large one right of a small two
a large one with a small two left of it
a small two and right of it a large one
```

## Train
"""

run = runs.train(
  task,
  folder / "run",
  wsram_tf.TrainingConfig(
    batch_size=BATCH_SIZE, evaluate_every=EVALUATE_EVERY, jit_compile="off"
  ),
  wsram_tf.OptimizerConfig(updates=UPDATES, learning_rate=0.002),
)
for name in ("scenes_correct_percent", "glimpse_on_digit_percent"):
  print(f"{name:26} {run.results[name]:.1f}")

"""
```text title="output"
update 500 of 1,500: ... right 40.6%, glimpses on their digit 62.8%
update 1,000 of 1,500: ... right 74.0%, glimpses on their digit 77.2%
update 1,500 of 1,500: ... right 81.4%, glimpses on their digit 78.9%
...
scenes_correct_percent     83.9
glimpse_on_digit_percent   79.2
```

`glimpse_on_digit_percent` counts the words that name a digit: how often the middle of the cell
before the word lies on that digit. The model was never told where the digits are.

## Export and ask

The export holds the beam search and the vocabulary. It answers image files with a caption, its
log-probability, and the cell before each word.
"""

version = export.export_captioner(
  run.path, folder / "models", name="scenes", verify=VERIFY
)
model = serving.ExportedModel(version)

files = []
for number, image in enumerate(test.images):
  files.append(folder / f"scene_{number}.png")
  keras.utils.save_img(files[-1], image * 255.0, scale=False)
answer = model.ask([path.read_bytes() for path in files])

captions = [
  models.caption_words({"words": words[None]}) or [models.NO_WORDS]
  for words in answer["words"]
]
right = []
for words, true_scene, references in zip(
  captions, test.scenes, test.captions, strict=True
):
  right.append(
    scene_language.judge_caption(true_scene, " ".join(words)).is_correct
  )
  print("right:" if right[-1] else "wrong:", " ".join(words))
  if not right[-1]:
    print(
      "  one of the true captions:",
      scene_language.VOCABULARY.decode(references[0]),
    )

"""
```text title="output"
right: a small two left of a large one
right: there is a large four
right: a small four right of a small five
right: there is a small one
right: there is a small one
right: there is a small eight left of a large one
```

## Draw where it looked

`draw_captions` draws one scene in each row: the image with the cell of the glimpse before each
word, and the word.
"""

figure = drawing.draw_captions(
  test.images,
  answer["locations"],
  captions,
  task.model.grid_shapes,
  right=right,
)
figure.savefig(folder / "captions.png")

"""
In the picture of this run, the cell before a name lies on or beside its digit. Before words such as
`of`, which no place decides, it may lie anywhere. The run draws correct and wrong test scenes in
the same form, in `glimpses.png`.

## Next

- [Captions](../captions.md): all settings, photographs with a backbone, glimpses at several layers.
- [Results](../results/captions.md) of scenes of up to three digits, and of Flickr8k.
"""
