"""`alledge explain`: one image, one run, one picture of what the network went by."""

from pathlib import Path
from typing import Any

from alledge.calibration import answered, apply_temperature, gate_input
from alledge.files import write_bytes
from alledge.images import read_image
from alledge.labels import INCONCLUSIVE, LABELS, TITLES
from alledge.preprocess import prepare_field
from alledge.runfolder import read_record
from alledge.verdict import RESEARCH_USE_ONLY

from .explain import Explainer, share_inside
from .explain_figure import explanation_png
from .predict import load_model


def explain_image(run: Path, image: Path, out: Path) -> dict[str, Any]:
    """Write the picture and return what `explain --json` prints (see docs/commands.md).

    Raises:
        UsageError, DataError: when `run` is no run folder, or damaged.
        ImageError: when the image is not usable.
    """
    record = read_record(run)
    prepared = prepare_field(read_image(image), record.preprocessing)
    found = Explainer(load_model(run), record.preprocessing).maps(prepared.tile)
    calibrated = apply_temperature(found.probabilities[None], record.calibration.temperature)
    sure = bool(answered(calibrated, gate_input(found.embedding[None], [prepared.tile]), record.calibration)[0])
    likely, confidence = LABELS[int(calibrated.argmax())], float(calibrated.max())
    inside = {name: share_inside(heat, prepared.mask) for name, heat in found.heat.items()}
    title = f"{TITLES[likely]}, {confidence:.0%}" if sure else f"Inconclusive (most likely {TITLES[likely]})"
    shares = "   ".join(f"{TITLES[label]} {p:.0%}" for label, p in zip(LABELS, calibrated[0], strict=True))
    subtitle = f"{shares}     image {image.name}, run {record.run_id}"
    write_bytes(out, explanation_png(title, subtitle, prepared.tile[..., :3], prepared.mask, found.heat, inside))
    return {
        "image": str(image),
        "out": str(out),
        "run_id": record.run_id,
        "verdict": likely if sure else INCONCLUSIVE,
        "most_likely": likely,
        "confidence": confidence,
        "probabilities": dict(zip(LABELS, calibrated[0].tolist(), strict=True)),
        "coverage": prepared.mask.coverage,
        "maps": {name: {"grid": list(heat.shape), "inside_nuclei": inside[name]} for name, heat in found.heat.items()},
        "warnings": list(prepared.mask.warnings),
        "notice": RESEARCH_USE_ONLY,
    }
