"""What a bundle says about itself: everything a device needs to run its model and to refuse it."""

from datetime import date
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from alledge.calibration import Calibration
from alledge.preprocess import Preprocessing

FORMAT = 3
ID_LENGTH = 16
MEMBER_NAME = r"^[a-z0-9][a-z0-9_]*(/[a-z0-9][a-z0-9_]*)?\.[a-z0-9]{1,8}$"

Target = Literal["cpu", "coral", "jetson-nano", "jetson-orin", "onnx"]
Engine = Literal["tflite", "coral", "onnx", "tensorrt"]
Precision = Literal["int8", "fp16", "fp32"]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class TensorSpec(_Strict):
    """One input or output of the model. real = (stored - zero_point) * scale for integer types."""

    name: str
    shape: tuple[int, ...]
    dtype: Literal["float32", "uint8", "int8"]
    scale: float = 0.0
    zero_point: int = 0


class Head(_Strict):
    """A second network that goes on where the first stops: what an Edge TPU cannot map runs on the board's CPU.

    Attributes:
        model: member with the second network.
        features: the first network's outputs; inputs: the same values, in this order, as the second network wants them.
    """

    model: str
    features: list[TensorSpec] = Field(min_length=1, max_length=8)
    inputs: list[TensorSpec] = Field(min_length=1, max_length=8)


class Golden(_Strict):
    """A synthetic field and what this very model must make of it, on every machine.

    Attributes:
        image, mask: members; the mask is compared exactly.
        tensor_sha256: `preprocess.tensor_digest` of the prepared tensor, compared exactly.
        probabilities: the model's raw output, compared within the manifest's `tolerance`.
    """

    image: str
    mask: str
    tensor_sha256: str
    probabilities: list[float] = Field(min_length=4, max_length=4)


class Member(_Strict):
    """One file of the bundle."""

    name: str = Field(pattern=MEMBER_NAME)
    size: int = Field(ge=0)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


class Signature(_Strict):
    """Who vouches for a bundle: an Ed25519 public key and what it made of the manifest without this entry."""

    public_key: str = Field(pattern=r"^[0-9a-f]{64}$")
    value: str = Field(pattern=r"^[0-9a-f]{128}$")


class Manifest(_Strict):
    """`manifest.json`, the first member of every bundle.

    Attributes:
        id: first 16 hex digits of the SHA-256 of this document with an empty id and no signature.
        target: what the bundle was made for; engine: the back end that can run it.
        precision: arithmetic that the target's engine is built for; None in bundles that do not say.
        model: member with the network; input, probs, embedding: its tensors.
        head: the second network of a split bundle; probs and embedding are then its outputs.
        fallback: compiled Edge TPU bundles only: member with the same network, same tensors, for a CPU.
        compiled: Edge TPU only: whether the closed compiler mapped it. Never claimed without its log.
        compiler: Edge TPU only: the compiler's version, in its own words.
        metrics: measured before shipping, each with its 95 % interval and the rows it was measured on.
        provenance: run, split hash, versions, seed: what is needed to make it again.
        release: grows with every bundle that is meant to replace an earlier one; a device never goes back.
        expires: last day on which a device may judge fields with it.
        compatible: names of the boards it is for (a device's own is in its configuration); None for all of its target.
        latency_ms: median milliseconds a field that a device may need to keep it when it is installed; None for any.
        signature: of everything else here, and so of every member by its SHA-256; None when nobody signed.
    """

    format: int
    id: str = ""
    target: Target
    engine: Engine
    precision: Precision | None = None
    labels: list[str]
    preprocessing: Preprocessing
    calibration: Calibration
    model: str
    input: TensorSpec
    probs: TensorSpec
    embedding: TensorSpec
    head: Head | None = None
    fallback: str | None = None
    tolerance: float = Field(gt=0, lt=1)
    goldens: list[Golden] = Field(min_length=1, max_length=16)
    compiled: bool | None = None
    compiler: str | None = None
    metrics: dict[str, Any]
    provenance: dict[str, Any]
    members: list[Member] = Field(max_length=64)
    release: int | None = Field(default=None, ge=0)
    expires: date | None = None
    compatible: list[str] | None = Field(default=None, min_length=1, max_length=16)
    latency_ms: float | None = Field(default=None, gt=0)
    signature: Signature | None = None
