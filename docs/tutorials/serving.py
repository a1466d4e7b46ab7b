"""
Title: Serving: export, verify, ask
Description: Exports a trained model, verifies it, and asks its signatures.
Accelerator: None
"""

"""
## Introduction

An export is a folder that [TensorFlow Serving](https://www.tensorflow.org/tfx/guide/serving) loads.
This tutorial exports the trained weights of the package, verifies the export as a server meets it,
and asks its signatures. It needs no training and no server; the commands for a server stand at the
end. The output on this page is that of one run of this file on two shared cores of an AMD EPYC,
2026-11-27.
"""

"""
## Setup
"""

import pathlib
import tempfile

import keras
import numpy as np

import wsram_tf
from wsram_tf import export, serving
from wsram_tf.data import canvases, digits

NUM_IMAGES = 2000
BATCH_SIZES = (1, 4, 16, 64)

folder = pathlib.Path(tempfile.mkdtemp())
print("files:", folder)

network = wsram_tf.load_pretrained("quickstart")
splits = digits.load_digits("mnist5k", num_validation=400)
test = canvases.evaluation_canvases(
  splits.test,
  wsram_tf.CanvasConfig(),
  num_canvases=NUM_IMAGES,
  batch_size=NUM_IMAGES,
  seed=5,
)
images, labels = (batch.numpy() for batch in next(iter(test)))

"""
## Export and verify

`export_classifier` takes the folder of a run, or a network as here. Python's own loader accepts
exports that every server refuses. Each version is therefore verified through the C++ loader, in a
process without TensorFlow's Python package, before it is published; `report=print` shows the
checks. `allowed_batch_sizes` are the sizes that the server pads its batches to.
"""

version = export.export_classifier(
  network,
  folder / "models",
  name="digits",
  allowed_batch_sizes=BATCH_SIZES,
  report=print,
)
print("published:", version.relative_to(folder))

"""
```text title="output"
check            result found
files            ok     7 files as exported, version 1 as recorded
contract         ok     attend, begin, classify_averaged, classify_bytes, ...
size             ok     graph 0.65 MB, variables 1.002 times their weights
load             ok     3.2 s, XLA disabled
large image      ok     12000 x 12000 pixels, a file of 18 kB: ...
warm-up          ok     32 requests: each signature at 1, 4, 16, 64 images
golden answers   ok     26 outputs, largest difference 0.0e+00
steps            ok     begin and 4 times look: largest difference 1.2e-07; ...
rows             ok     batches of 0, 1, 3, 64, 1000: largest difference 8.6e-07
seeds            ok     attend, classify_averaged: the same after a reload, ...
refusals         ok     122 wrong inputs, each INVALID_ARGUMENT ...
imports          ok     no tensorflow, no keras, ...
verified
...
published: models/digits/1
```

`serving.verification.verify(version)` runs the checks again, for example on another machine, and so
does the program `verify.py`. The next export of the name becomes version 2. It may add signatures,
but not change or drop one.

## Ask without a server

`ExportedModel` loads a version through the same C++ loader. A program that only asks does not
import TensorFlow's Python package, and starts in a fraction of a second.
"""

model = serving.ExportedModel(version)
for name, signature in sorted(model.signatures.items()):
  inputs = ", ".join(
    f"{name} {info}" for name, info in signature.inputs.items()
  )
  print(f"{name:18} {inputs} -> {', '.join(signature.outputs)}")

"""
```text title="output"
attend             images float32 [-1, 100, 100, 1], seed int64 [-1] -> ...
begin              low_resolution float32 [-1, 12, 12, 1] -> glimpses_left, ...
classify_averaged  images float32 [-1, 100, 100, 1], seed int64 [-1] -> ...
classify_bytes     image_bytes string [-1] -> class_id, locations, probabilities
classify_stepwise  images float32 [-1, 100, 100, 1], threshold float32 [-1] -> ...
look               patches float32 [-1, 2, 18, 18, 1], state float32 [-1, 515] -> ...
prior_map          images float32 [-1, 100, 100, 1] -> locations, prior
serving_default    images float32 [-1, 100, 100, 1] -> class_id, locations, ...
```

`ask` takes the contents of image files, which must have the model's size. `prepare_image` brings
any file to it.
"""

picture = folder / "digit.png"
keras.utils.save_img(
  picture, np.kron(images[0], np.ones([3, 3, 1])) * 255.0, scale=False
)
contents, note = serving.prepare_image(picture, model.image_shape(), model.fit)
print(note)
print(
  "a", labels[0], "is read as", serving.models.describe(model.ask([contents]))
)

"""
```text title="output"
resized from 300 x 300 to 100 x 100 pixels (height x width)
a 6 is read as 6 (99.9%), 4 (0.1%), 2 (0.0%); looked at ...
```

`exchange` asks any signature for arrays. `attend` samples the glimpses, with a seed for each row:
the same seed gives the same glimpses, on every server and in every batch. `classify_averaged`
averages the probabilities over five sampled sequences.
"""

seeds = np.arange(NUM_IMAGES, dtype=np.int64)
one = model.exchange("serving_default", {"images": images}).outputs
averaged = model.exchange(
  "classify_averaged", {"images": images, "seed": seeds}
).outputs
for name, outputs in (
  ("serving_default", one),
  ("classify_averaged", averaged),
):
  print(f"{name:18} {100 * np.mean(outputs['class_id'] != labels):.1f}% errors")

first, again, other = (
  model.exchange(
    "attend", {"images": images[:1], "seed": np.array([seed])}
  ).outputs["locations"]
  for seed in (1, 1, 2)
)
print("same seed, same glimpses:", np.array_equal(first, again))
print("another seed, other glimpses:", not np.array_equal(first, other))

"""
```text title="output"
serving_default    4.2% errors
classify_averaged  4.0% errors
same seed, same glimpses: True
another seed, other glimpses: True
```

## Images that never leave the client

A large image need not travel. The client sends a small copy to `begin`, which answers where to look
first. It cuts the patches there and sends them to `look` with the state, which answers where to
look next. `look_around` runs this loop. The answer is that of the whole image.
"""

source = serving.PixelSource(images, *model.glimpses)
looked = serving.look_around(model, source)
same = np.abs(looked.answer["probabilities"] - one["probabilities"]).max()
print(f"largest difference of a probability: {same:.0e}")
print(f"sent {looked.bytes_sent / NUM_IMAGES / 1e3:.1f} kB an image")

"""
```text title="output"
largest difference of a probability: 4e-07
sent 19.2 kB an image
```

With a threshold the loop stops early; see the [quick start](quick_start.md). The loop step by step,
for a client of your own:
"""

low_resolution = source.low_resolution(network.config.context_side)
step = model.exchange("begin", {"low_resolution": low_resolution}).outputs
while step["glimpses_left"].any():
  patches = source.patches(step["location"], None)
  step = model.exchange(
    "look", {"state": step["state"], "patches": patches}
  ).outputs
print(np.array_equal(step["class_id"], looked.answer["class_id"]))

r"""
```text title="output"
True
```

## A server

The folder `models` holds all that a server needs. `models/README.md` has these commands with the
right names:

```bash
cd models
docker run --rm -p 8500:8500 -p 8501:8501 -v "$PWD:/models:ro" tensorflow/serving \
  --model_config_file=/models/models.config \
  --enable_batching --batching_parameters_file=/models/batching_parameters.txt \
  --monitoring_config_file=/models/monitoring.config
```

The server then offers gRPC on port 8500 and REST on 8501. `ServedModel` has the methods of an
`ExportedModel`, so the code above runs against a server, too:

```text
client = serving.GrpcClient("localhost:8500", "digits")  # Or RestClient("localhost:8501", ...).
model = serving.ServedModel(client, "digits")
answer = model.ask([contents])
looked = serving.look_around(client, source)
```

## Next

- [Serving](../serving.md): the signatures in detail, curl, versions, the page in the browser.
- [Large images](large_images.md): `look_around` for files that are never loaded.
"""
