"""The page: inputs of a visitor, the models' answers, and the player that shows them."""

import contextlib
import os
import pathlib
import time
from collections.abc import Callable, Iterable, Mapping, Sequence

# Read when Gradio is imported: the page sends nothing to anybody.
os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
import gradio
import numpy as np
from gradio.themes import Base

from wsram_tf.demo import asking, player
from wsram_tf.serving import clients, cpp_loader, models
from wsram_tf.serving.examples import png_bytes

__all__ = ["build_page", "launch"]

# Of a visitor's file.
LARGEST_FILE = "50mb"
# Side of the field to draw on, pixels; it becomes the model's image.
CANVAS_SIDE = 320
_DRAWING = f"""<div class="drawing">
<canvas width="{CANVAS_SIDE}" height="{CANVAS_SIDE}" aria-label="field to draw on"></canvas>
<span class="hint">Draw a digit here,<br>at most half as high as the field</span>
<button type="button" class="clear">Clear</button></div>"""
# How often files of visitors are deleted, and from which age on, seconds.
_DELETED_EVERY, _DELETED_FROM = 600, 3600
# How often a program that serves the page looks for an interrupt, seconds.
_LOOKS_EVERY = 0.5
# The browser loads nothing else, so its own fonts serve.
_FONT = ["system-ui", "sans-serif"]


def build_page(
  page_models: Mapping[str, asking.PageModel],
  *,
  examples: Sequence[str | os.PathLike] = (),
  regions: bool = False,
) -> gradio.Blocks:
  """Makes the page, and asks each model once, because a model's first answer takes longer.

  Args:
    page_models: one or two models by the names to show.
    examples: image files that a visitor may take.
    regions: whether visitors' files are large ones, of which classifiers get a reduced copy and the
      patches that they ask for.

  Raises:
    ValueError: if there are no models, or more than two, or one does not answer after each glimpse.
    ServerError, ServingError: as the models raise them.

  Example:

  >>> from wsram_tf import demo, serving
  >>> model = serving.ExportedModel("served/digits")  # See the example of `export_classifier`.
  >>> page = demo.build_page({"digits": model})
  >>> page.title
  'Where does it look?'
  """
  if not 1 <= len(page_models) <= 2:
    raise ValueError(f"page_models: must be one or two; got {len(page_models)}")
  classifiers = {name: model for name, model in page_models.items() if not _describes(model)}
  captioners = {name: model for name, model in page_models.items() if _describes(model)}
  for model in page_models.values():
    _warm_up(model)
  paths = [str(path) for path in examples]
  with gradio.Blocks(
    title="Where does it look?",
    analytics_enabled=False,
    delete_cache=(_DELETED_EVERY, _DELETED_FROM),
  ) as page:
    gradio.Markdown("# Where does it look?\nA model takes a few small glimpses and answers.")
    for name, model in classifiers.items():
      with gradio.Tab(name):
        _classifier_tab({name: model}, paths, regions)
    for name, model in captioners.items():
      with gradio.Tab(name):
        _captioner_tab(model, paths)
    if len(classifiers) == 2:
      with gradio.Tab("Compare"):
        _classifier_tab(classifiers, paths, regions)
  return page


def launch(
  page: gradio.Blocks, *, host: str = "127.0.0.1", port: int = 7860, wait: bool = True
) -> str:
  """Starts the page's server.

  Args:
    page: what `build_page` returned.
    host: the address to listen on; 0.0.0.0 for all of this machine.
    port: 0 for any free one from 7860 on.
    wait: whether to print the address and serve until an interrupt.

  Returns:
    the page's address.

  Raises:
    OSError: if the port is taken.
  """
  page.queue(default_concurrency_limit=4)
  _, address, _ = page.launch(
    server_name=host,
    server_port=port or None,
    prevent_thread_lock=True,
    quiet=True,
    share=False,
    show_error=True,
    ssr_mode=False,
    max_file_size=LARGEST_FILE,
    footer_links=[],
    theme=Base(font=_FONT, font_mono=["monospace"]),
    css=_read("player.css") + _read("canvas.css"),
  )
  if wait:
    print(f"The page is at {address}; Ctrl-C ends it", flush=True)
    try:
      # One wait without a limit would miss an interrupt that comes just before it blocks.
      while True:
        time.sleep(_LOOKS_EVERY)
    finally:
      page.close(verbose=False)
  return address


def _read(name: str) -> str:
  """Reads a file beside this module."""
  return pathlib.Path(__file__).with_name(name).read_text(encoding="utf-8")


def _describes(model: asking.PageModel) -> bool:
  return isinstance(model.glimpses, models.Cells)


def _warm_up(model: asking.PageModel) -> None:
  height, width, channels = model.image_shape()
  contents = png_bytes(np.zeros([height or 1, width or 1, channels], np.uint8))
  if _describes(model):
    asking.ask_captioner(model, contents)
  else:
    asking.ask_classifier(model, contents)


def _classifier_tab(
  shown: Mapping[str, asking.PageModel], examples: list[str], regions: bool
) -> None:
  """Inputs, and the answers of one model or of two beside each other."""
  shapes = {model.image_shape() for model in shown.values()}
  sketch = invert = None
  with gradio.Row():
    with gradio.Column(scale=1, min_width=CANVAS_SIDE), contextlib.ExitStack() as tabs:
      if not regions and all(channels == 1 for _, _, channels in shapes):
        with gradio.Tab("Draw"):
          sketch = gradio.HTML(
            html_template=_DRAWING, js_on_load=_read("canvas.js"), apply_default_css=False
          )
        tabs.enter_context(gradio.Tab("Picture"))
      upload = _upload(examples)
      if not regions:
        invert = gradio.Checkbox(label="Swap dark and bright")
    views = _views(shown)

  def answers(ask: Callable[[asking.PageModel], str]) -> str | list[str]:
    found = [_answered(ask, model) for model in shown.values()]
    return found if len(found) > 1 else found[0]  # As Gradio wants it.

  def answer_file(path: str | None, invert: bool = False) -> str | list[str]:
    file = pathlib.Path(path or "")

    def ask(model: asking.PageModel) -> str:
      if path is None:
        return ""
      if regions:
        return player.glimpses_html(asking.search_file(model, file))
      contents, note = asking.prepared(model, file, invert=invert)
      return player.glimpses_html(asking.ask_classifier(model, contents, note))

    return answers(ask)

  def answer_drawing(event: gradio.EventData) -> str | list[str]:
    def ask(model: asking.PageModel) -> str:
      contents = asking.prepared_drawing(model, event.drawing, CANVAS_SIDE)
      return player.glimpses_html(asking.ask_classifier(model, contents))

    return answers(ask)

  inputs = [upload] if invert is None else [upload, invert]
  gradio.on([component.change for component in inputs], answer_file, inputs, views, api_name="look")
  if sketch is not None:
    # Of the strokes that come while a drawing is answered, the last counts.
    sketch.input(answer_drawing, None, views, trigger_mode="always_last", api_visibility="private")


def _captioner_tab(model: asking.PageModel, examples: list[str]) -> None:
  with gradio.Row():
    with gradio.Column(scale=1, min_width=CANVAS_SIDE):
      upload = _upload(examples)
    views = _views({"": model})

  def answer_file(path: str | None) -> str:
    if path is None:
      return ""

    def ask(model: asking.PageModel) -> str:
      contents, note = asking.prepared(model, pathlib.Path(path))
      return player.caption_html(asking.ask_captioner(model, contents, note))

    return _answered(ask, model)

  upload.change(answer_file, upload, views, api_name="describe")


def _upload(examples: list[str]) -> gradio.File:
  """A field for a visitor's file, with examples below it."""
  upload = gradio.File(label="Upload a picture", height=140, elem_classes="upload")
  if examples:
    gallery = gradio.Gallery(
      examples,
      label="Or take an example",
      columns=2,
      object_fit="contain",
      height="auto",
      buttons=[],
      allow_preview=False,
      interactive=False,
      elem_classes="examples",
    )

    def take(event: gradio.SelectData) -> str:
      return examples[event.index]

    gallery.select(take, None, upload, api_visibility="private")
  return upload


def _views(shown: Iterable[str]) -> list[gradio.HTML]:
  """A column for the answer of each model."""
  views, names = [], list(shown)
  for name in names:
    with gradio.Column(scale=2, min_width=CANVAS_SIDE):
      if len(names) > 1:
        gradio.Markdown(f"### {name}")
      views.append(gradio.HTML("", js_on_load=_read("player.js"), elem_classes="answer-of"))
  return views


def _answered(ask: Callable[[asking.PageModel], str], model: asking.PageModel) -> str:
  """Calls `ask`; the page shows an expected error as a message."""
  try:
    return ask(model)
  except (ValueError, OSError, cpp_loader.ServingError, clients.ServerError) as error:
    raise gradio.Error(str(error), title="No answer", print_exception=False) from error
