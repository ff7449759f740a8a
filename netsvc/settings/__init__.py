"""How settings are read: INI files, drop-ins, overrides, the origin of each key.

Each package declares its own section beside the code that uses it, as a frozen struct whose fields all have defaults::

    class RpcSettings(msgspec.Struct, frozen=True, kw_only=True):
        \"\"\"[rpc]: procedures.\"\"\"

        modules: Annotated[Lines, Help("Python modules that register procedures")] = ()
        deadline: Annotated[Duration, Meta(gt=0), Help("How long a call may take")] = 30.0

Types of fields: bool, int, float, str, Path, Literal, Duration, Size, Lines, Endpoints, any of them ``| None`` (an empty value), and
what a package marks with a Form of its own. Bounds: ``msgspec.Meta``. There is no global: what `load` returns is passed on.
"""

from netsvc.settings.faults import EX_CONFIG, Fault, Place, SettingsError
from netsvc.settings.loading import LARGEST_FILE, Settings, load
from netsvc.settings.reference import KeyReference, describe, render
from netsvc.settings.values import Duration, Endpoints, Form, Help, Lines, Size, items

__all__ = [
    "EX_CONFIG",
    "LARGEST_FILE",
    "Duration",
    "Endpoints",
    "Fault",
    "Form",
    "Help",
    "KeyReference",
    "Lines",
    "Place",
    "Settings",
    "SettingsError",
    "Size",
    "describe",
    "items",
    "load",
    "render",
]
