"""What this machine makes of pictures with bundles, written down bit for bit. Runs on x86-64 and inside the emulator.

    python replay.py FOLDER OUT

FOLDER has fields/*.png or *.jpg and bundles/*.alledge. OUT gets about.json (machine, versions) and a NAME.npz
for each bundle.
"""

import hashlib
import json
import platform
import sys
from contextlib import closing
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from alledge.bundle import Bundle
from alledge.device.engine import Output, open_engine
from alledge.device.pipeline import Look, Pipeline
from alledge.device.selftest import replay
from alledge.errors import EngineError
from alledge.images import find_images, read_image
from alledge.labels import LABELS
from alledge.preprocess import tensor_digest

LIBRARIES = ("ai-edge-litert", "onnxruntime", "numpy", "opencv-python-headless")
_CPU_ENGINE = {"coral": "tflite", "tensorrt": "onnx"}  # what reads the same model file without the accelerator


@dataclass(frozen=True)
class Answers:
    """One bundle's answers to n fields of one machine, in the order of the files' names.

    Attributes:
        bundle: its id; engine: what ran it, "tflite" with the kernels it used; tolerance: the manifest's.
        goldens: how many were replayed; faults: one sentence for each that did not come out, str [f].
        frames, tensors: SHA-256 of the decoded pixels and of the prepared tensors, str [n].
        masks: bool [n, S, S]; probs: float32 [n, 4] and embeddings: float32 [n, d], both raw; NaN where the engine
            refused its answer.
        verdicts: verdict and reasons as a screen has them, or the engine's refusal, str [n].
    """

    bundle: str
    engine: str
    tolerance: float
    goldens: int
    faults: NDArray[np.str_]
    frames: NDArray[np.str_]
    tensors: NDArray[np.str_]
    masks: NDArray[np.bool_]
    probs: NDArray[np.float32]
    embeddings: NDArray[np.float32]
    verdicts: NDArray[np.str_]

    def save(self, path: Path) -> None:
        """Write as .npz."""
        np.savez_compressed(path, **vars(self))

    @classmethod
    def load(cls, path: Path) -> "Answers":
        """Read what `save` wrote; nothing in it is pickled."""
        with np.load(path) as stored:
            arrays = {name: stored[name] for name in stored.files}
        return cls(**{name: value.item() if value.ndim == 0 else value for name, value in arrays.items()})


def answer(path: Path, fields: list[Path]) -> Answers:
    """Replay the bundle's goldens, then judge every field with it."""
    bundle = Bundle.open(path)
    name = _CPU_ENGINE.get(bundle.manifest.engine, bundle.manifest.engine)
    with closing(open_engine(bundle, name)) as engine:
        pipeline, faults = Pipeline(bundle, engine), replay(bundle, engine)
        frames, looks = [], []
        for field in fields:
            rgb = read_image(field)
            frames.append(hashlib.sha256(rgb.tobytes()).hexdigest())
            looks.append(pipeline.prepare(rgb))
        outputs, verdicts = zip(*(_judge(pipeline, look) for look in looks), strict=True)
    ran = f"{name} ({_kernels(bundle.cpu_model)})" if name == "tflite" else name
    return Answers(
        bundle.id, ran, bundle.manifest.tolerance, len(bundle.manifest.goldens), np.array(faults, np.str_),
        np.array(frames), np.array([tensor_digest(look.prepared.tensor) for look in looks]),
        np.stack([look.prepared.mask.pixels > 0 for look in looks]), np.stack([o.probs for o in outputs]),
        np.stack([o.embedding for o in outputs]), np.array(verdicts))


def _judge(pipeline: Pipeline, look: Look) -> tuple[Output, str]:
    """What the engine said and the verdict in words; numbers that the engine's own check refuses are NaN here."""
    try:
        output = pipeline.infer(look)
    except EngineError as refusal:
        width = pipeline.bundle.manifest.embedding.shape[-1]
        return Output(np.full(len(LABELS), np.nan, np.float32), np.full(width, np.nan, np.float32)), str(refusal)
    verdict = pipeline.decide(look, output)
    return output, "; ".join((verdict.verdict, *verdict.reasons))


def _kernels(model: bytes) -> str:
    """XNNPACK's, or the built-in ones that LiteRT falls back to in silence and that give other bytes."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=model)
    interpreter.allocate_tensors()
    delegated = any(operation["op_name"] == "DELEGATE" for operation in interpreter._get_ops_details())
    return "XNNPACK" if delegated else "built-in"


def about() -> dict[str, str]:
    """This machine and what runs on it."""
    versions = {name: metadata.version(name) for name in LIBRARIES}
    return {"machine": platform.machine(), "system": platform.freedesktop_os_release()["PRETTY_NAME"],
            "python": platform.python_version(), **versions}


def main() -> None:
    folder, out = map(Path, sys.argv[1:])
    out.mkdir(parents=True, exist_ok=True)
    fields = find_images(folder / "fields")
    for path in sorted((folder / "bundles").glob("*.alledge")):
        found = answer(path, fields)
        found.save(out / f"{path.stem}.npz")
        print(f"{platform.machine()}: {path.stem}: {found.goldens} goldens, {len(found.faults)} faults, "
              f"{len(fields)} fields", flush=True)
    (out / "about.json").write_text(json.dumps(about()), encoding="utf-8")


if __name__ == "__main__":
    main()
