"""`alledge explain`: one image, one run, one picture of what the network went by."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from alledge.calibration import answered, apply_temperature, gate_input
from alledge.files import write_bytes
from alledge.images import read_image
from alledge.labels import INCONCLUSIVE, LABELS, TITLES
from alledge.predictions import PREDICTIONS, read_column
from alledge.preprocess import prepare_field
from alledge.runfolder import TrainingRecord, read_record
from alledge.verdict import RESEARCH_USE_ONLY

from .explain import Explainer, share_inside
from .explain_figure import explanation_png
from .findings import certainty
from .heads import ATTENTION_VOICE, OPINIONS
from .predict import load_model


def explain_image(run: Path, image: Path, out: Path) -> dict[str, Any]:
    """Write the picture and return what `explain --json` prints (see docs/commands.md).

    Raises:
        UsageError, DataError: when `run` is no run folder, or damaged.
        ImageError: when the image is not usable.
    """
    record = read_record(run)
    prepared = prepare_field(read_image(image, halve=True), record.preprocessing)
    found = Explainer(load_model(run), record.preprocessing).maps(prepared.tile)
    calibrated = apply_temperature(found.probabilities[None], record.calibration.temperature)
    sure = bool(answered(calibrated, gate_input(found.embedding[None], [prepared.tile]), record.calibration)[0])
    likely, confidence = LABELS[int(calibrated.argmax())], float(calibrated.max())
    inside = {name: share_inside(heat, prepared.mask) for name, heat in found.heat.items()}
    opinions = {name: LABELS[int(p.argmax())] for name, p in found.opinions.items()}
    notes = [*_beside_attention(opinions), *_perhaps_learned(run, record, image)]
    title = f"{TITLES[likely]}, {certainty(confidence)}" if sure else f"Inconclusive (most likely {TITLES[likely]})"
    shares = "   ".join(f"{TITLES[label]} {certainty(p)}" for label, p in zip(LABELS, calibrated[0], strict=True))
    subtitle = f"{shares}     image {image.name}, run {record.run_id}"
    write_bytes(out, explanation_png(title, subtitle, prepared.tile[..., :3], prepared.mask, found.heat, inside,
                                     notes, ATTENTION_VOICE if opinions else 1.0))
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
        "opinions": {name: {"voice": voice, "most_likely": opinions[name]}
                     for name, voice in zip(OPINIONS, (1 - ATTENTION_VOICE, ATTENTION_VOICE), strict=True)
                     if name in opinions},
        "warnings": list(prepared.mask.warnings),
        "notes": notes,
        "notice": RESEARCH_USE_ONLY,
    }


def _beside_attention(opinions: Mapping[str, str]) -> list[str]:
    """What attention is worth in a verdict that is added up of two opinions, and whether the other one agrees."""
    if not opinions:
        return []
    nuclei, attention = (TITLES[opinions[name]] for name in OPINIONS)
    agreed = (f"both opinions call it {nuclei}" if nuclei == attention else
              f"the opinions disagree: the nuclei's calls it {nuclei}, attention's {attention}")
    return [f"Attention is the smaller of two opinions, {ATTENTION_VOICE:.0%} of the verdict; {agreed}."]


def _perhaps_learned(run: Path, record: TrainingRecord, image: Path) -> list[str]:
    """A doubt, unless the image is one of the run's test rows: a run does not name the rows it has learned from."""
    images = record.provenance.get("images")
    if images and not images["test"]:
        return ["This run has learned from all listed images, perhaps from this one: its certainty is then no "
                "evidence."]
    md5 = hashlib.md5(image.read_bytes(), usedforsecurity=False).hexdigest()
    if (run / PREDICTIONS).is_file() and md5 in read_column(run / PREDICTIONS, "md5"):
        return []
    return ["This is none of the run's test images: if it has learned from it, its certainty is no evidence."]
