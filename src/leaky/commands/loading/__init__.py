"""MODEL and DATA of the command line: names, files and weights as objects that can be observed.

Files come from outside: arrays are read without pickles, and what does not fit gets one
sentence that says what must hold, what came and what to do. Only the user's own Python code is executed.
"""

from leaky.commands.loading.arrays import LoadedData
from leaky.commands.loading.data import load_data
from leaky.commands.loading.models import Model, load_model

__all__ = ["LoadedData", "Model", "load_data", "load_model"]
