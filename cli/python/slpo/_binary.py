"""The `slpo` binary: where it is, and what it says of a check."""

import dataclasses
import os
import pathlib
import shutil
import sysconfig


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What `slpo` says of a check. It is true if the check passed."""

    ok: bool
    text: str = dataclasses.field(repr=False)

    def __bool__(self) -> bool:
        return self.ok


def binary() -> str:
    """Returns the path of the binary: the wheel's own, else one on PATH, else the one that the variable SLPO names."""
    name = "slpo.exe" if os.name == "nt" else "slpo"
    own = pathlib.Path(sysconfig.get_path("scripts"), name)
    if own.is_file():
        return str(own)
    found = shutil.which("slpo") or os.environ.get("SLPO")
    if found is None:
        raise FileNotFoundError(f"there is no {own}, and no slpo on PATH: install the wheel, or name the binary in the variable SLPO")
    return str(pathlib.Path(found).absolute())
