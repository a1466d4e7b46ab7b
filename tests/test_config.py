"""Settings: every rule refuses by name, value and rule; dictionaries round-trip."""

import dataclasses
import json
import math
import re

import tensorflow as tf

from wsram_tf import config
from wsram_tf.classification.config import GlimpseConfig, LocationConfig, ModelConfig
from wsram_tf.settings import rule_violation, setting

_MODEL_AT_LEAST_ONE = (
  "height",
  "width",
  "channels",
  "num_glimpses",
  "units",
  "context_side",
  "context_pool",
)

# Class, setting, a value that it refuses, the rule that the message must state.
_REFUSED = [
  (GlimpseConfig, "glimpse_side", 0, "must be at least 1"),
  (GlimpseConfig, "glimpse_scales", 0, "must be at least 1"),
  (GlimpseConfig, "glimpse_scales", 9, "must be at most 8"),
  (GlimpseConfig, "choose_scale", 1, "must be true or false"),
  (GlimpseConfig, "glimpse_filters", (8, 0), "must be at least 1"),
  (GlimpseConfig, "glimpse_filters", (8.5,), "must be a whole number"),
  (GlimpseConfig, "glimpse_filters", ("8",), "must be a number"),
  (
    LocationConfig,
    "location_distribution",
    "beta",
    "must be one of normal, normal_learned_scale, grid",
  ),
  (LocationConfig, "location_scale", 0.0, "must be above 0"),
  (LocationConfig, "location_scale", -0.1, "must be above 0"),
  (LocationConfig, "location_scale", math.inf, "must be finite"),
  (LocationConfig, "location_scale", math.nan, "must be finite"),
  (LocationConfig, "location_scale", "0.1", "must be a number"),
  (LocationConfig, "grid_rows", 0, "must be at least 1"),
  (LocationConfig, "grid_columns", 0, "must be at least 1"),
  (LocationConfig, "location_filters", (4, 0), "must be at least 1"),
  (LocationConfig, "location_units", 0, "must be at least 1"),
  (LocationConfig, "location_saliency", -0.1, "must be at least 0"),
  (LocationConfig, "location_saliency", 0.7, "must be 0.0 for location_distribution=normal"),
  (LocationConfig, "no_return", 1, "must be true or false"),
  (LocationConfig, "no_return_radius", -1, "must be at least 0"),
  (LocationConfig, "no_return", True, "must be False for location_distribution=normal"),
  *((ModelConfig, name, 0, "must be at least 1") for name in _MODEL_AT_LEAST_ONE),
  (ModelConfig, "units", 2.5, "must be a whole number"),
  (ModelConfig, "units", True, "must be a number"),
  (ModelConfig, "units", 2**31, "must be at most 2147483647"),
  (ModelConfig, "num_classes", 1, "must be at least 2"),
  (ModelConfig, "precision", "float64", "must be one of float32, bfloat16"),
  (ModelConfig, "cell", "rnn", "must be one of lstm, gru"),
  (ModelConfig, "observation", "files", "must be one of pixels, visible_pixels, regions"),
  (config.ObjectiveConfig, "num_samples", 0, "must be at least 1"),
  (config.ObjectiveConfig, "num_samples", 1, "must be at least 2 for estimator=wake_sleep"),
  (config.ObjectiveConfig, "estimator", "reinforce", "must be one of wake_sleep, "),
  (config.ObjectiveConfig, "prior_fraction", 0.0, "must be above 0"),
  (config.ObjectiveConfig, "inference_phase", "dream", "must be one of wake, sleep, mix"),
  (config.ObjectiveConfig, "sleep_updates", 0, "must be at least 1"),
  (config.ObjectiveConfig, "stepwise_weight", -0.1, "must be at least 0"),
  (config.ObjectiveConfig, "learn_locations", 0, "must be true or false"),
  (config.ObjectiveConfig, "learn_locations", False, "must be True for estimator=wake_sleep"),
  (config.ExplorationConfig, "temperature", 0.0, "must be above 0"),
  (config.ExplorationConfig, "temperature_updates", -1, "must be at least 0"),
  (config.ExplorationConfig, "entropy_bonus", -0.1, "must be at least 0"),
  (config.ExplorationConfig, "entropy_bonus_updates", -1, "must be at least 0"),
  (config.ExplorationConfig, "coverage_bonus", -0.1, "must be at least 0"),
  (config.ExplorationConfig, "coverage_bonus_updates", -1, "must be at least 0"),
  (config.OptimizerConfig, "updates", 0, "must be at least 1"),
  (config.OptimizerConfig, "learning_rate", 0.0, "must be above 0"),
  (config.OptimizerConfig, "learning_rate", 1e39, "must be finite as float32"),
  (config.OptimizerConfig, "schedule", "linear", "must be one of cosine, constant"),
  (config.OptimizerConfig, "warmup_updates", -1, "must be at least 0"),
  (config.OptimizerConfig, "clip_norm", 0.0, "must be above 0"),
]
_CLASSES = (
  GlimpseConfig,
  LocationConfig,
  ModelConfig,
  config.ObjectiveConfig,
  config.ExplorationConfig,
  config.OptimizerConfig,
)


def _settings(config_class: type) -> list[dataclasses.Field]:
  return [field for field in dataclasses.fields(config_class) if "help" in field.metadata]


class ConfigTest(tf.test.TestCase):
  def test_every_rule_refuses_with_name_value_and_rule(self):
    for config_class, name, value, rule in _REFUSED:
      message = f"^{re.escape(f'{name}={value!r}: ')}.*{re.escape(rule)}"
      with self.subTest(message), self.assertRaisesRegex(ValueError, message):
        config_class(**{name: value})

  def test_settings_within_settings_are_refused_by_name(self):
    for name, value in (("glimpse", "18"), ("location", {"grid_rows": 8})):
      with self.assertRaisesRegex(ValueError, rf"^{name}=.*: must be of the class \w+Config$"):
        ModelConfig(**{name: value})

  def test_every_setting_is_listed_above(self):
    declared = {(cls, field.name) for cls in _CLASSES for field in _settings(cls)}
    self.assertEqual(declared, {(cls, name) for cls, name, _, _ in _REFUSED})

  def test_bounds_themselves_are_allowed(self):
    GlimpseConfig(glimpse_side=1, glimpse_scales=1)
    GlimpseConfig(glimpse_scales=8, glimpse_filters=(1,))
    LocationConfig(grid_rows=1, grid_columns=1)
    config.ObjectiveConfig(num_samples=2)
    config.ObjectiveConfig(estimator="variational", num_samples=1)
    config.OptimizerConfig(updates=1, warmup_updates=0)

  def test_free_text_must_be_text(self):
    @dataclasses.dataclass(frozen=True)
    class Named:
      name: str = setting("", "any text")

    (field,) = _settings(Named)
    self.assertIsNone(rule_violation(field, "any/text 3"))
    self.assertEqual(rule_violation(field, 3), "must be text")

  def test_rules_between_settings(self):
    small, no_return = GlimpseConfig(glimpse_side=4), LocationConfig("keyed_grid", no_return=True)
    for make, message in (
      (
        lambda: GlimpseConfig(glimpse_side=7, glimpse_filters=(4, 4, 4)),
        r"glimpse_filters=\(4, 4, 4\): .*must be at most 2 convolutions for glimpse_side=7",
      ),
      (
        lambda: ModelConfig(height=30, width=17, glimpse=GlimpseConfig(glimpse_side=20)),
        "glimpse_side=20: must be at most the canvas' shorter side, 17 pixels",
      ),
      (
        lambda: ModelConfig(height=11, width=30, glimpse=small, context_side=13),
        "context_side=13: must be at most the canvas' shorter side, 11 pixels",
      ),
      (
        lambda: ModelConfig(context_side=12, context_pool=5),
        "context_pool=5: must divide context_side=12",
      ),
      (
        lambda: ModelConfig(num_glimpses=5, context_side=2, location=no_return),
        "num_glimpses=5: must leave a cell for each glimpse with no_return: of the 4 cells of "
        "context_side=2 each takes 1",
      ),
      (
        lambda: LocationConfig("keyed_grid", no_return_radius=1),
        "no_return_radius=1: must be 0 without no_return",
      ),
      (
        lambda: config.ObjectiveConfig(estimator="variational_leave_one_out", num_samples=1),
        "num_samples=1: must be at least 2 for estimator=variational_leave_one_out",
      ),
      (
        lambda: config.ObjectiveConfig(estimator="wake_sleep_prior", inference_phase="sleep"),
        "inference_phase=sleep: must be wake for estimator=wake_sleep_prior",
      ),
      (
        lambda: config.OptimizerConfig(updates=10, warmup_updates=10),
        "warmup_updates=10: must be below updates=10",
      ),
    ):
      with self.subTest(message), self.assertRaisesRegex(ValueError, message):
        make()
    GlimpseConfig(glimpse_side=8, glimpse_filters=(4, 4, 4))
    ModelConfig(height=12, width=30, glimpse=small)
    ModelConfig(num_glimpses=4, context_side=2, location=no_return)
    config.OptimizerConfig(updates=10, warmup_updates=9)

  def test_defaults_shrink_to_small_images(self):
    made = ModelConfig(height=8, width=9)
    self.assertEqual((made.glimpse.glimpse_side, made.context_side), (8, 8))
    self.assertEqual(ModelConfig.from_dict(made.to_dict()), made)
    made = ModelConfig(height=15, width=40)
    self.assertEqual((made.glimpse.glimpse_side, made.context_side), (15, 12))

  def test_help_explains_every_field(self):
    for config_class in _CLASSES:
      text = " ".join(config_class.__doc__.split())
      for field in _settings(config_class):
        with self.subTest(field.name):
          self.assertIn(f"{field.name}: {field.metadata['help']}", text)
          self.assertIn(f"Default: {field.default!r}.", text)

  def test_settings_hold_help_and_a_default_within_the_rule(self):
    for config_class in _CLASSES:
      made = config_class()
      for field in _settings(config_class):
        with self.subTest(field.name):
          self.assertTrue(field.metadata["help"])
          self.assertIsNone(rule_violation(field, getattr(made, field.name)))

  def test_are_frozen(self):
    for config_class in _CLASSES:
      made = config_class()
      with self.assertRaises(dataclasses.FrozenInstanceError):
        setattr(made, _settings(config_class)[0].name, 3)

  def test_model_config_round_trips_through_json(self):
    changed = ModelConfig(
      height=20,
      width=30,
      channels=3,
      num_classes=4,
      num_glimpses=2,
      units=8,
      cell="gru",
      context_side=6,
      context_pool=3,
      glimpse=GlimpseConfig(glimpse_side=9, glimpse_scales=3, glimpse_filters=(4, 8)),
      location=LocationConfig(
        location_distribution="keyed_grid",
        location_scale=0.3,
        grid_rows=2,
        grid_columns=3,
        location_filters=(4, 8),
        location_units=5,
        location_saliency=0.5,
        no_return=True,
        no_return_radius=1,
      ),
    )
    for model_config in (ModelConfig(), changed):
      values = json.loads(json.dumps(model_config.to_dict()))
      self.assertEqual(ModelConfig.from_dict(values), model_config)
    self.assertEqual(changed.image_shape, (20, 30, 3))

  def test_reads_what_was_written_before_there_were_keys(self):
    values = json.loads(json.dumps(ModelConfig().to_dict()))
    for name in (
      "location_filters",
      "location_units",
      "location_saliency",
      "no_return",
      "no_return_radius",
    ):
      del values["location"][name]
    del values["context_pool"]
    self.assertEqual(ModelConfig.from_dict(values), ModelConfig())

  def test_from_dict_checks(self):
    values = ModelConfig().to_dict()
    with self.assertRaisesRegex(ValueError, "grid_rows=0: must be at least 1"):
      ModelConfig.from_dict({**values, "location": {"grid_rows": 0}})
