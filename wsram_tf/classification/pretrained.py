"""Trained prediction networks that the package ships, by name."""

import pathlib

import keras

from wsram_tf.classification.prediction_network import PredictionNetwork

__all__ = ["PRETRAINED", "load_pretrained"]

# Name: what it was trained on, and the flagfile that trained it.
PRETRAINED = {
  "quickstart": "one digit of 14 to 56 pixels on 100 x 100; trainers/flagfiles/quickstart.flags",
  "translated_scaled": "the same, from full MNIST; trainers/flagfiles/translated_scaled.flags",
}


def load_pretrained(name: str) -> PredictionNetwork:
  """Loads a trained prediction network.

  Args:
    name: one of `PRETRAINED`.

  Returns:
    the network, ready to answer: `network(images)`.

  Raises:
    ValueError: if there is no such name.
  """
  if name not in PRETRAINED:
    raise ValueError(f"name={name!r}: must be one of {', '.join(PRETRAINED)}")
  folder = pathlib.Path(__file__).parent / "weights"
  return keras.saving.load_model(folder / f"{name}.keras")
