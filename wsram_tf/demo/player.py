"""HTML of the glimpses of a model: all steps at once, of which the browser shows one.

The page holds no state of a visitor on the server: a slider and a play button, in `player.js`,
switch between the steps.
"""

import base64
import html
import io
from collections.abc import Sequence

import numpy as np
import PIL.Image

from wsram_tf.demo.asking import Box, CaptionAnswer, ClassifierAnswer

__all__ = ["caption_html", "glimpses_html"]

# The largest number of classes with a bar; of more classes, the likeliest have one.
MOST_BARS = 10
# Of the map of the prior.
_PRIOR_COLOUR = (255, 110, 0)


def glimpses_html(answer: ClassifierAnswer) -> str:
  """Shows a classifier's glimpses: the image, what it saw, and the probabilities after each."""
  count = len(answer.boxes)
  picture = [_image(answer.image)]
  if answer.prior is not None:
    for n, prior in enumerate(answer.prior):
      picture.append(f'<g class="prior only" data-step="{n}">{_image(_heat(prior))}</g>')
  for n, boxes in enumerate(answer.boxes):
    squares = "".join(_rectangle(box, answer.size, inner=box is boxes[0]) for box in boxes)
    picture.append(f'<g class="look since" data-step="{n}">{squares}</g>')
  best = np.argsort(-answer.probabilities.max(axis=0), kind="stable")[:MOST_BARS]
  classes = np.sort(best)
  steps = []
  for n in range(count):
    patches = "".join(
      f'<img src="{_data_url(patch)}" alt="patch {scale + 1} of glimpse {n + 1}">'
      for scale, patch in enumerate(answer.patches[n])
    )
    steps.append(
      f'<section class="only" data-step="{n}"><h4>What glimpse {n + 1} saw</h4>'
      f'<div class="patches">{patches}</div><h4>Classes after it</h4>'
      f"{_bars(answer.probabilities[n], classes, answer.names)}</section>"
    )
  label = int(answer.probabilities[-1].argmax())
  sure = 100 * float(answer.probabilities[-1, label])
  headline = f"<strong>{html.escape(answer.names[label])}</strong> ({sure:.1f} %)"
  tick = (
    '<label><input type="checkbox" class="show-prior"> where it might look</label>'
    if answer.prior is not None
    else ""
  )
  return _player(headline, answer.note, answer.size, "".join(picture), "".join(steps), count, tick)


def caption_html(answer: CaptionAnswer) -> str:
  """Shows a caption: its words, and the cell of the image before each."""
  size = answer.image.shape[0], answer.image.shape[1]
  picture = [_image(answer.image)]
  steps = []
  for n, box in enumerate(answer.boxes):
    picture.append(f'<g class="look only" data-step="{n}">{_rectangle(box, size, inner=True)}</g>')
    words = " ".join(
      f"<strong>{html.escape(word)}</strong>" if at == n else f"<span>{html.escape(word)}</span>"
      for at, word in enumerate(answer.words)
    )
    steps.append(f'<section class="only" data-step="{n}"><p class="words">{words}</p></section>')
  caption = html.escape(" ".join(answer.words)) or "(nothing)"
  headline = f"<strong>{caption}</strong> (log-probability {answer.log_prob:.1f} nats)"
  count = len(answer.boxes)
  return _player(headline, answer.note, size, "".join(picture), "".join(steps), count)


def _player(
  headline: str,
  note: str,
  size: tuple[int, int],
  picture: str,
  steps: str,
  count: int,
  tick: str = "",
) -> str:
  height, width = size
  return f"""<div class="player" data-count="{count}">
<p class="answer">{headline}</p>{f'<p class="note">{html.escape(note)}</p>' if note else ""}
<div class="controls"><button type="button" class="play">Play</button>
<input type="range" class="at" min="1" max="{max(count, 1)}" value="{max(count, 1)}"
 aria-label="glimpse"><output class="which"></output>{tick}</div>
<div class="panes"><svg viewBox="0 0 {width} {height}" role="img" aria-label="the image">
{picture}</svg><div class="steps" aria-live="polite">{steps}</div></div></div>"""


def _bars(probabilities: np.ndarray, classes: np.ndarray, names: Sequence[str]) -> str:
  likeliest = int(probabilities.argmax())
  rows = "".join(
    f"<li{' class=best' if label == likeliest else ''}>"
    f"<span>{html.escape(names[int(label)])}</span>"
    f'<meter min="0" max="1" value="{probabilities[label]:.4f}"></meter>'
    f"<span>{100 * probabilities[label]:.1f} %</span></li>"
    for label in classes
  )
  return f'<ol class="classes">{rows}</ol>'


def _heat(prior: np.ndarray) -> np.ndarray:
  """A map `[R, C]` as a colour whose opacity is the probability: float `[R, C, 4]`."""
  opacity = prior / max(float(prior.max()), 1e-12)
  colour = np.broadcast_to(np.array(_PRIOR_COLOUR) / 255, [*prior.shape, 3])
  return np.concatenate([colour, 0.8 * opacity[..., np.newaxis]], axis=-1)


def _image(image: np.ndarray) -> str:
  return f'<image href="{_data_url(image)}" width="100%" height="100%" preserveAspectRatio="none"/>'


def _data_url(image: np.ndarray) -> str:
  """A float image `[H, W, C]` in 0..1, C from 1 to 4, as the address of a PNG that holds it."""
  pixels = np.round(np.clip(image, 0, 1) * 255).astype(np.uint8)
  file = io.BytesIO()
  PIL.Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels).save(file, "PNG")
  return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"


def _rectangle(box: Box, size: tuple[int, int], *, inner: bool) -> str:
  if not box.width:
    radius = max(size) / 40
    return f'<circle cx="{box.left:.1f}" cy="{box.top:.1f}" r="{radius:.1f}"/>'
  place = f'x="{box.left:g}" y="{box.top:g}" width="{box.width:g}" height="{box.height:g}"'
  # Dark below bright: to be seen on any image.
  kind = "inner" if inner else "outer"
  return f'<rect class="{kind} below" {place}/><rect class="{kind}" {place}/>'
