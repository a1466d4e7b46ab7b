"""The programs that train and evaluate, and the modules that they share."""

import pathlib
import sys

# The modules import each other by their bare names, as siblings of a program that is run by its
# path. `python -m trainers.NAME` puts no program's folder on the path, so this does, once for all.
sys.path.insert(0, str(pathlib.Path(__file__).parent))
