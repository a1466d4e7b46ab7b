"""The trained prediction networks in the package, by name."""

from wsram_tf.classification.prediction_network import PredictionNetwork

__all__ = ["PRETRAINED", "load_pretrained"]

# Name: training data, and the flagfile of the training run.
PRETRAINED = {
  "cluttered100": "one digit of 28 pixels among clutter on 100 x 100, from full MNIST; "
  "trainers/flagfiles/cluttered100_8glimpses.flags with the flags in its model card",
  "quickstart": "one digit of 14 to 56 pixels on 100 x 100; trainers/flagfiles/quickstart.flags",
  "translated_scaled": "the same, from full MNIST; trainers/flagfiles/translated_scaled.flags",
  "translated_scaled_conv": "the same with convolutions, the best and the slowest; "
  "trainers/flagfiles/translated_scaled_conv.flags with the flags in its model card",
}


def load_pretrained(name: str) -> PredictionNetwork:
  """Loads a trained prediction network: `PredictionNetwork.from_preset` for names alone.

  Args:
    name: one of `PRETRAINED`.

  Returns:
    the network; `network(images)` classifies.

  Raises:
    ValueError: if there is no network of that name.

  Example:

  >>> load_pretrained("quickstart").config.image_shape
  (100, 100, 1)
  """
  if not isinstance(name, str) or name not in PRETRAINED:
    raise ValueError(f"name={name!r}: must be one of {', '.join(PRETRAINED)}")
  return PredictionNetwork.from_preset(name)
