"""The compiled core: the activation, its backward pass and per-unit statistics, each in one pass over memory.

Must be optional: where it was not built, or is turned off, `core()` is None and every caller has a plain path that
gives the same results.
"""

from leaky.activation.kernels.loader import BuildInfo, build_info, core

__all__ = ["BuildInfo", "build_info", "core"]
