"""Edge-deployment toolkit for microscopes that look for acute lymphoblastic leukemia. Research use only."""

import os

# OpenCV reads these once, when it is loaded: no image file, however small, may unpack to more pixels than a camera
# has, and its own warnings would drown the one sentence in which we refuse a file.
os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", str(50_000_000))
os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")
# Since 1.29 ONNX Runtime reports each loaded model (file name, hashes) to its maker unless this is set before it loads.
# A microscope tells nobody anything.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

__version__ = "0.1.0"
__all__ = ["LABELS", "Bundle", "Mask", "Pipeline", "Preprocessing", "Verdict", "__version__", "prepare", "segment"]

_HOMES = {
    "LABELS": "alledge.labels",
    "Bundle": "alledge.bundle",
    "Mask": "alledge.segmentation",
    "Pipeline": "alledge.device.pipeline",
    "Preprocessing": "alledge.preprocess",
    "Verdict": "alledge.verdict",
    "prepare": "alledge.preprocess",
    "segment": "alledge.segmentation",
}


def __getattr__(name: str) -> object:
    """Import a public name when it is first asked for, so that `alledge --help` loads neither NumPy nor OpenCV."""
    if name not in _HOMES:
        raise AttributeError(f"module 'alledge' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_HOMES[name]), name)
