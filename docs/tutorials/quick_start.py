"""
Title: Quick start: train, look, export, ask
Description: Trains on digits, shows where the model looks, exports it, and asks the export.
Accelerator: None
"""

"""
## Introduction

A digit of 14 to 56 pixels lies somewhere on a black canvas of 100 x 100. A convolutional network
would read all 10,000 pixels. The model of this tutorial reads a copy of 12 x 12 and four
**glimpses** of the canvas, each 18 x 18 pixels at two scales, and has to choose where to look.

The 5,000 real digits come with the installation, so nothing is downloaded. With the constants
below, the file runs in a few minutes on two CPU cores. The output on this page is that of one run,
seed 1, on two shared cores of an AMD EPYC, 2026-11-27.
"""

"""
## Setup
"""

import pathlib
import tempfile

import keras
import numpy as np

import wsram_tf
from wsram_tf import export, runs, serving, tasks
from wsram_tf.data import canvases, digits

UPDATES = 4000
EVALUATE_EVERY = 1000
BATCH_SIZE = 128
UNITS = 128
GLIMPSES = 4
TEST_CANVASES = 10_000
JIT_COMPILE = "auto"  # XLA compiles for a while, and makes the updates faster.
VERIFY = True  # False leaves the verification of the export out.

folder = pathlib.Path(tempfile.mkdtemp())
print("files:", folder)

"""
## The task

A task combines data, a model and scores. `DigitTask` puts digits on canvases while the model
trains, so no canvas comes twice. The test canvases are fixed.

The locations of glimpses are sampled, so the gradient has to be estimated.
`wake_sleep_equal_likelihood` is the estimator that suits most tasks; [estimators](../estimators.md)
has the others. `stepwise_weight` also trains the answers after the first, second and third glimpse.
"""

task = tasks.DigitTask(
  canvas=wsram_tf.CanvasConfig(
    canvas_side=100, smallest_digit=14, largest_digit=56
  ),
  model=wsram_tf.ModelConfig(units=UNITS, num_glimpses=GLIMPSES),
  objective=wsram_tf.ObjectiveConfig(
    "wake_sleep_equal_likelihood", stepwise_weight=0.3
  ),
  evaluation=tasks.CanvasEvaluationConfig(
    validation_canvases=max(TEST_CANVASES // 5, 1), test_canvases=TEST_CANVASES
  ),
)

"""
## Train

`runs.train` writes a run folder, as the program `train_mnist.py` does: the learner, checkpoints,
figures, pictures and the settings. It shows a progress bar, and one line for each evaluation. A
stopped training continues with `resume=True`.
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
print(sorted(path.name for path in run.path.iterdir()))
for name in (
  "test_error_percent",
  "test_error_percent_averaged",
  "effective_sample_size",
):
  print(f"{name:30} {run.results[name]:.2f}")

"""
```text title="output"
compiling the training step; the first updates take a while
update 1,000 of 4,000: validation error 9.25% (averaged 9.75%), ...
update 2,000 of 4,000: validation error 6.20% (averaged 6.10%), ...
update 3,000 of 4,000: validation error 5.45% (averaged 4.85%), ...
update 4,000 of 4,000: validation error 5.40% (averaged 4.60%), ...
...
test_error_percent             4.66
test_error_percent_averaged    3.89
effective_sample_size          4.84
```
"""

"""
## Look at glimpses

`show_glimpses` draws the squares of the glimpses in their order, the pixels that each one reads,
and the answer. The model is the learner of the run, or the one that `wsram_tf.load_model(run.path /
"model.keras")` loads.
"""

splits = digits.load_digits("mnist5k", num_validation=400)
test = canvases.evaluation_canvases(
  splits.test, task.canvas, num_canvases=8, batch_size=8, seed=5
)
images, labels = (batch.numpy() for batch in next(iter(test)))
wsram_tf.show_glimpses(run.learner, images, labels).savefig(
  folder / "glimpses.png"
)

"""
The picture of such a run:

![canvases with numbered glimpse squares](../images/glimpses.png)

## The answer after each glimpse

`classify_stepwise` answers after every glimpse. The first answer rests on one glimpse, which often
shows only a part of the digit. The test error after each glimpse is in the results, too.
"""

steps = run.learner.prediction_network.classify_stepwise(images)
probabilities = np.asarray(steps["probabilities"])  # [8, GLIMPSES, 10]
for label, by_glimpse in zip(labels[:4], probabilities[:4], strict=True):
  sure = ", ".join(f"{100 * p[label]:.0f}%" for p in by_glimpse)
  print(f"a {label}: probability of the right class after each glimpse {sure}")
errors = run.results["test_error_percent_by_glimpse"]
print(
  "test error after each glimpse, %:",
  ", ".join(f"{error:.2f}" for error in errors),
)

"""
```text title="output"
a 6: probability of the right class after each glimpse 97%, 100%, 100%, 100%
a 8: probability of the right class after each glimpse 76%, 98%, 99%, 100%
a 3: probability of the right class after each glimpse 39%, 9%, 3%, 1%
a 5: probability of the right class after each glimpse 7%, 44%, 84%, 93%
test error after each glimpse, %: 15.62, 6.65, 5.11, 4.66
```

The five needs all four glimpses, and the three is misread: the later glimpses turn the answer away
from it. Over all test canvases, each further glimpse lowers the error.
"""

"""
## Export

The exporter writes a version for TensorFlow Serving. It verifies the version in another process,
through the C++ loader that servers use, and publishes it only if every check passes.
"""

version = export.export_classifier(
  run.path, folder / "models", name="digits", verify=VERIFY
)
print(sorted(path.name for path in version.iterdir()))

"""
## Ask

The export answers the contents of PNG and JPEG files, with one row for each. `stepwise_weight` pays
off here: with a threshold, `look_around` takes no further glimpse once the model is sure enough.
"""

picture = folder / "digit.png"
keras.utils.save_img(picture, images[0] * 255.0, scale=False)
model = serving.ExportedModel(version)
answer = model.ask([picture.read_bytes()])
print("a", labels[0], "is read as", serving.models.describe(answer))

source = serving.PixelSource(images, *model.glimpses)
looked = serving.look_around(model, source, threshold=0.9)
print("glimpses until the model is 90% sure:", looked.glimpses)

"""
```text title="output"
a 6 is read as 6 (100.0%), 4 (0.0%), 2 (0.0%); looked at ...
glimpses until the model is 90% sure: [1 2 3 4 2 4 2 2]
```

## Next

- [Your own images](own_images.md): the same with a folder of image files.
- [Writing an estimator](estimator.md): another estimator, and a comparison.
- [Serving](serving.md): all signatures of an export, and a server.
- [The learner in Python](../python.md): `compile` and `fit`, without a run folder.
"""
