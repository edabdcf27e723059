"""Every error `alledge` raises on purpose: one sentence for the user, one exit code for the shell.

Catch `AlledgeError` to catch them all. Each leaf also inherits the builtin that callers would expect.
"""


class AlledgeError(Exception):
    """Base of all errors raised by this package. `str(error)` is one sentence meant for a person."""

    exit_code = 1


class UsageError(AlledgeError, ValueError):
    """Raised when an argument, option, file name or configuration key is not what was asked for."""

    exit_code = 2


class ImageError(AlledgeError, ValueError):
    """Raised when a file is not an image this package may interpret (corrupt, 16-bit, CMYK, huge ...)."""


class DataError(AlledgeError, ValueError):
    """Raised when a data set, split or run folder contradicts itself or lacks what is needed."""


class WeightsMissing(DataError):
    """Raised when pretrained weights cannot be had on this machine."""


class CameraError(AlledgeError, OSError):
    """Raised when a camera cannot be opened or stops giving frames."""


class EngineError(AlledgeError, RuntimeError):
    """Raised when an inference engine fails or returns something that is not a probability vector."""


class DisplayError(AlledgeError, OSError):
    """Raised when a display cannot be reached, or stops answering. What it should show is kept all the same."""


class MemoryExhausted(AlledgeError, MemoryError):
    """Raised when a device has too little memory for what it was asked to hold."""


class OutputError(AlledgeError, OSError):
    """Raised when a file cannot be written where it was asked to go."""


class SinkError(AlledgeError, OSError):
    """Raised when a result cannot be put where it was asked to go."""


class NoVerdict(AlledgeError):
    """Raised when the command worked but no field could be given a verdict that is safe to show."""

    exit_code = 3


class BackendMissing(AlledgeError, ImportError):
    """Raised when a back end, or the library behind it, is not on this machine. `fix`: the command that brings it."""

    exit_code = 4

    def __init__(self, message: str, fix: str = "") -> None:
        super().__init__(f"{message}: {fix}" if fix else message)
        self.fix = fix


class BundleRefused(AlledgeError, ValueError):
    """Raised when a bundle is truncated, altered, too large, too new or made for something else."""

    exit_code = 5


class GateNotMet(AlledgeError):
    """Raised when a model loses more in conversion, or a benchmark is slower, than is allowed."""

    exit_code = 6
