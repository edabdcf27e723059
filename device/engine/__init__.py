"""Engines: what runs a bundle's model. Each other file here is one of them, named after the library it drives."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from alledge import backends
from alledge.bundle import Bundle
from alledge.errors import BundleRefused, UsageError
from alledge.labels import LABELS
from alledge.manifest import Manifest, TensorSpec

from ..faults import EngineFault

Input = NDArray[np.generic]  # float32, or integers as a quantised model stores its input
FLOAT_SLACK = 1e-3  # how far the sum of four float32 (or half-precision) probabilities may be from 1
MAX_PROBS_SCALE = 1 / 64  # quantisation step; softmax in 8 bits has 1/256
MAX_THREADS = 64
_PROBABILITIES = f"{len(LABELS)} probabilities that sum to 1"

# manifest.engine -> engines that can read the same model file, the intended one first.
_READERS = {
    "tflite": ("tflite",),
    "coral": ("coral", "tflite"),
    "onnx": ("onnx",),
    "tensorrt": ("tensorrt", "onnx"),
}
IN_A_CHILD = ("coral", "tensorrt")  # engines that run in a process of their own: native code that may die or hang
_STAND_INS = {"coral": "tflite", "tensorrt": "onnx"}  # what reads the same bundle on a CPU


@dataclass(frozen=True)
class Output:
    """What a model says of one field, uncalibrated.

    Attributes:
        probs: float32 [4]; embedding: float32 [d].
        engine: what answered, when that is not what was asked: e.g. "tflite for coral".
        faults: names of the engine's faults (`alledge.device.faults`) while it answered, the cause first; detail: that
            one in the engine's own words.
    """

    probs: NDArray[np.float32]
    embedding: NDArray[np.float32]
    engine: str = ""
    faults: tuple[str, ...] = ()
    detail: str = ""


class Engine(Protocol):
    """A model, loaded. `create(bundle, threads)` of a back end makes one."""

    @property
    def name(self) -> str:
        """The back end's; what a supervised one says may change from field to field."""

    def infer(self, tensor: Input) -> Output:
        """Run the model on [S, S, channels].

        Raises:
            EngineError: when it fails, or returns something that is not a probability vector; an `EngineFault` where
                that has a name.
        """

    def close(self) -> None:
        """Let go of the device. The engine is of no use afterwards."""


def open_engine(bundle: Bundle, name: str | None = None, threads: int = 1) -> Engine:
    """Load a bundle's model on the engine it was made for, or on another one that reads the same file.

    Args:
        bundle: verified.
        name: engine to use; None for the one the manifest names.
        threads: CPU threads, pinned; more than one seldom helps a small model and costs steadiness.

    Raises:
        UsageError: for an unknown engine, one that cannot read this bundle, or a thread count out of range.
        BackendMissing: when the engine's library is not installed here.
        EngineError: when its accelerator does not start.
        BundleRefused: when the model cannot be loaded or is not what the manifest says.
    """
    if not 1 <= threads <= MAX_THREADS:
        raise UsageError(f"threads={threads} is out of range: expected 1 to {MAX_THREADS}")
    name = _choose(bundle.manifest, name)
    _check_tensors(bundle)
    create = backends.load("engine", name)
    return _Checked(create(bundle, threads), bundle.manifest)


class _Checked:
    """The one place where an engine's output is believed or not."""

    def __init__(self, engine: Engine, manifest: Manifest) -> None:
        self.name = engine.name
        self._engine = engine
        step = 0.0 if manifest.probs.dtype == "float32" else manifest.probs.scale
        self._slack = FLOAT_SLACK + len(LABELS) * step  # each may be off by one quantisation step
        self._width = manifest.embedding.shape[-1]

    def infer(self, tensor: Input) -> Output:
        """Run the engine and check what it says."""
        output = self._engine.infer(tensor)
        self._demand(output.embedding, self._width, f"an embedding of {self._width} finite numbers")
        self._demand(output.probs, len(LABELS), _PROBABILITIES)
        if float(output.probs.min()) < -self._slack or abs(float(output.probs.sum()) - 1) > self._slack:
            raise self._fault("engine-no-distribution", _PROBABILITIES, output.probs)
        return output

    def _demand(self, values: NDArray[np.float32], count: int, expected: str) -> None:
        if values.shape != (count,):
            raise self._fault("engine-wrong-shape", expected, values)
        if not np.isfinite(values).all():
            raise self._fault("engine-not-finite", expected, values)

    def _fault(self, name: str, expected: str, received: NDArray[np.float32]) -> EngineFault:
        return EngineFault(name, f"engine {self.name}: expected {expected}, received {_describe(received)}")

    def close(self) -> None:
        """Close the engine behind."""
        self._engine.close()


def stand_in(manifest: Manifest, name: str) -> str | None:
    """The engine that runs a bundle on the CPU when `name` cannot, if the bundle carries a model for it."""
    spare = _STAND_INS.get(name)
    return None if spare == "tflite" and not _has_cpu_model(manifest) else spare


def _has_cpu_model(manifest: Manifest) -> bool:
    return not manifest.compiled or manifest.fallback is not None


def _describe(values: NDArray[np.float32]) -> str:
    if values.shape == (len(LABELS),):
        return f"[{', '.join(f'{v:.3g}' for v in values)}]"
    return f"{values.size} numbers, {int((~np.isfinite(values)).sum())} of them not finite"


def _choose(manifest: Manifest, name: str | None) -> str:
    readers = _READERS[manifest.engine]
    if name is not None and name not in readers:
        problem = f"cannot run a {manifest.target} bundle" if name in backends.names("engine") else "is unknown"
        raise UsageError(f"engine {name!r} {problem}: expected {' or '.join(readers)}")
    chosen = name or manifest.engine
    if chosen == "tflite" and not _has_cpu_model(manifest):
        raise BundleRefused("this bundle was compiled for the Edge TPU, carries no model for a CPU and runs on engine "
                            "coral only; for a CPU use `alledge convert --target cpu`")
    if chosen == "coral" and not manifest.compiled:
        raise BundleRefused("this bundle is not compiled for the Edge TPU yet: `alledge convert --finish` does that "
                            "where Google's compiler is; until then it runs on the CPU with --engine tflite")
    return chosen


def _check_tensors(bundle: Bundle) -> None:
    manifest, seen = bundle.manifest, bundle.manifest.preprocessing
    _check_tensor(bundle, manifest.input, (1, seen.size, seen.size, seen.channels))
    _check_tensor(bundle, manifest.probs, (1, len(LABELS)))
    _check_tensor(bundle, manifest.embedding, (1, manifest.embedding.shape[-1] if manifest.embedding.shape else 0))
    if manifest.head:
        if len(manifest.head.features) != len(manifest.head.inputs):
            raise BundleRefused(f"{bundle.path}: expected a head of {len(manifest.head.features)} inputs, as many as "
                                f"the network before it has outputs, its manifest says {len(manifest.head.inputs)}")
        for given, wanted in zip(manifest.head.features, manifest.head.inputs, strict=True):
            _check_tensor(bundle, given, given.shape)
            _check_tensor(bundle, wanted, given.shape)
    if manifest.probs.dtype != "float32" and not manifest.probs.scale <= MAX_PROBS_SCALE:
        raise BundleRefused(f"{bundle.path}: expected probabilities in steps of 1/64 or finer, its manifest says "
                            f"{manifest.probs.scale:g}")


def _check_tensor(bundle: Bundle, spec: TensorSpec, shape: tuple[int, ...]) -> None:
    if spec.shape != shape or 0 in shape:
        raise BundleRefused(f"{bundle.path}: expected tensor {spec.name!r} of shape {list(shape)}, its manifest says "
                            f"{list(spec.shape)}")
    if spec.dtype != "float32" and not spec.scale > 0:
        raise BundleRefused(f"{bundle.path}: its manifest gives no quantisation scale for {spec.name!r}")
