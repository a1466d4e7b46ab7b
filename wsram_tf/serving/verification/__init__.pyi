from .checks import Check as Check
from .checks import verify as verify
