import os
import typing  # lazy_loader accepts no absolute "from" import here.

import keras

from . import animation as animation
from . import captions as captions
from . import classification as classification
from . import config as config
from . import data as data
from . import drawing as drawing
from . import layers as layers
from . import learning as learning
from . import location_families as location_families
from . import locations as locations
from . import numerics as numerics
from . import objectives as objectives
from .animation import animate_glimpses as animate_glimpses
from .captions.caption_network import CaptionNetwork as CaptionNetwork
from .captions.config import CaptionLossConfig as CaptionLossConfig
from .captions.config import CaptionModelConfig as CaptionModelConfig
from .captions.config import DecodingConfig as DecodingConfig
from .captions.data.scene_config import SceneConfig as SceneConfig
from .captions.inference_network import CaptionInferenceNetwork as CaptionInferenceNetwork
from .captions.learner import CaptionLearner as CaptionLearner
from .classification.config import GlimpseConfig as GlimpseConfig
from .classification.config import LocationConfig as LocationConfig
from .classification.config import ModelConfig as ModelConfig
from .classification.inference_network import InferenceNetwork as InferenceNetwork
from .classification.learner import WakeSleepLearner as WakeSleepLearner
from .classification.prediction_network import PredictionNetwork as PredictionNetwork
from .classification.pretrained import PRETRAINED as PRETRAINED
from .classification.pretrained import load_pretrained as load_pretrained
from .config import ExplorationConfig as ExplorationConfig
from .config import ObjectiveConfig as ObjectiveConfig
from .config import OptimizerConfig as OptimizerConfig
from .config import TrainingConfig as TrainingConfig
from .data.canvases.config import CanvasConfig as CanvasConfig
from .data.canvases.config import MegapixelConfig as MegapixelConfig
from .drawing import show_glimpses as show_glimpses
from .learning.sequences import GlimpseSequences as GlimpseSequences
from .learning.update_guard import NonFiniteUpdateError as NonFiniteUpdateError
from .learning.update_guard import NonFiniteWeightsError as NonFiniteWeightsError
from .location_families import register_location_family as register_location_family
from .objectives.estimators import Estimator as Estimator
from .objectives.estimators import register_estimator as register_estimator
from .objectives.losses import ScoredSequences as ScoredSequences

__version__: str

def load_model(path: str | os.PathLike, **kwargs: typing.Any) -> keras.Model: ...
