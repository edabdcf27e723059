"""What happens next on the board, as exact commands. BUNDLE stands for the file."""

from alledge.bundle import Bundle
from alledge.manifest import Target

_CHECK = ("alledge inspect BUNDLE: shows what this report says, from the file itself",
          "alledge doctor BUNDLE: replays the goldens on the board, which must give the same answers",
          "alledge bench BUNDLE: latency there; figures of this machine say nothing about the board")
_ENGINE = "alledge device build-engine BUNDLE: TensorRT makes its engine there, once, and keeps it; takes minutes"
_TENSORRT = ("alledge run BUNDLE --camera URI: on TensorRT, which alledge has met as a stand-in only; with --engine "
             "onnx on the board's CPU, as it was checked here")
_ONCE = " once BUNDLE is compiled"
_CORAL = (f"alledge run BUNDLE --camera URI: on the Edge TPU{_ONCE}, which alledge has met as a stub only; with "
          "--engine tflite on the board's CPU")
_RUN: dict[Target, tuple[str, ...]] = {
    "cpu": ("alledge run BUNDLE --camera URI",),
    "onnx": ("alledge run BUNDLE --camera URI",),
    "coral": (_CORAL,),
    "jetson-nano": (_ENGINE, _TENSORRT),
    "jetson-orin": (_ENGINE, _TENSORRT),
}
_FINISH = "alledge convert --finish BUNDLE: on x86-64 Linux where Google's compiler is; until then nothing is mapped"


def next_steps(target: Target, compiled: bool | None) -> tuple[str, ...]:
    """In order, one line each."""
    steps = (*((_FINISH,) if compiled is False else ()), "copy BUNDLE to the board", *_CHECK, *_RUN[target])
    return tuple(step.replace(_ONCE, "") for step in steps) if compiled else steps


def steps_for(bundle: Bundle) -> tuple[str, ...]:
    """Those that a bundle tells, with its file's name."""
    return tuple(step.replace("BUNDLE", bundle.path.name) for step in bundle.manifest.metrics["next"])
