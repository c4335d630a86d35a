"""MODEL and DATA of the command line: names, files and weights as objects that can be observed.

Files come from outside: arrays are read without pickles, weights with `weights_only`, and what does not fit gets one
sentence that says what must hold, what came and what to do. Only the user's own Python code is executed.
"""

from leaky.loading.arrays import Data
from leaky.loading.data import load_data
from leaky.loading.models import Model, load_model

__all__ = ["Data", "Model", "load_data", "load_model"]
