"""Names that documents of an earlier version import, and where they are now."""

import importlib
import warnings
from collections.abc import Callable, Mapping

# Module and name as they were, and the module that has the name now. The modules are named and not
# imported: some are in later layers. An entry goes with the version after the one that it names.
_FORMER_NAMES: Mapping[tuple[str, str], str] = {
    # 0.1.0
    ("asr.model", "build_model"): "asr",
    ("asr.model", "CtcModel"): "asr.ctc",
    ("asr.model", "CtcOutput"): "asr.ctc",
}


def former_names(module: str) -> Callable[[str], object]:
    """The `__getattr__` of a module that finds its former names, each with a DeprecationWarning.

    Args:
        module: The module's name.

    Returns:
        From a name to what it stands for; AttributeError for one that the module never had.
    """

    def find(name: str) -> object:
        place = _FORMER_NAMES.get((module, name))
        if place is None:
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        warnings.warn(
            f"{module}.{name} is deprecated and goes with the next version; use {place}.{name}",
            DeprecationWarning,
            stacklevel=2,
        )
        return getattr(importlib.import_module(place), name)

    return find
