"""The golden screens: `python tests/device/screens.py` draws them again after an intended change; look at them.

It also draws the documentation's pictures of the displays.
"""

from dataclasses import replace
from pathlib import Path

from PIL import Image

from alledge.device import notice
from alledge.device.canvas import SMALL
from alledge.device.faults import FAULTS
from alledge.device.screen import screen
from alledge.sample import SampleVerdict
from alledge.synthetic import draw_field
from alledge.verdict import GATE_NOT_MET, Verdict

LARGE, WIDE = (240, 240), (480, 320)
SIZES = (SMALL, LARGE, WIDE)
FOLDER = Path(__file__).resolve().parents[1] / "golden" / "screens"
SURE = Verdict("pre_b", 0.93, {"benign": 0.03, "early_pre_b": 0.04, "pre_b": 0.93, "pro_b": 0.001}, sequence=12,
               timings_ms={"total": 38.2})
BENIGN = Verdict("benign", 0.997, {"benign": 0.997, "early_pre_b": 0.001, "pre_b": 0.001, "pro_b": 0.001}, sequence=7,
                 timings_ms={"total": 41.0})
UNSURE = Verdict("inconclusive", 0.43, {"benign": 0.43, "early_pre_b": 0.3, "pre_b": 0.17, "pro_b": 0.1},
                 ("not sure enough: confidence 43%, this model answers from 61%",), sequence=13,
                 timings_ms={"total": 38.2})
DROPPED = replace(SURE, caveat=GATE_NOT_MET)
DROPPED_UNSURE = replace(UNSURE, caveat=GATE_NOT_MET)
STAND_IN = replace(SURE, faults=("engine-crashed",))
SAMPLE = SampleVerdict("S-0017", "early_pre_b", 0.91, {"benign": 0.05, "early_pre_b": 0.91, "pre_b": 0.03,
                                                       "pro_b": 0.01}, votes={"early_pre_b": 8, "inconclusive": 2})
MIXED = SampleVerdict("S-0018", "inconclusive", 0.6, {"benign": 0.6, "early_pre_b": 0.4, "pre_b": 0.0, "pro_b": 0.0},
                      ("the fields disagree (Benign 6, Early Pre-B 4): take more fields or look at the slide",),
                      votes={"benign": 6, "early_pre_b": 4})
FAULT = "camera file://nope cannot be opened: expected an image or a folder, found nothing there"
NOTICES = {
    "self_test": notice.SELF_TEST,
    "ready": notice.ready("gpio"),
    "cannot_start": notice.cannot_start(FAULT),
    "camera_lost": notice.of_fault(FAULTS["camera-disconnected"]),
    "accelerator_lost": notice.of_fault(FAULTS["accelerator-lost"]),
    "disk_full": notice.of_fault(FAULTS["storage-full"]),
    "stopped": notice.STOPPED,
    "model_checked": notice.CHECKING_MODEL,
    "model_installed": notice.installed("6306dc6d6dbd316a", "4 goldens reproduced, 38.2 ms a field, 8 fields of the "
                                                            "camera judged"),
    "model_rolled_back": notice.rolled_back("it takes 96.4 ms a field, and its limit is 80 ms"),
    "model_refused": notice.refused("is unsigned, but only bundles signed by a81f6d2090ce3b17 are accepted here"),
}
PICTURES = Path(__file__).resolve().parents[2] / "docs" / "images"
SHEETS = {
    "displays.png": (("sure", "unsure", "sample", "ready"), ("camera_lost", "disk_full", "cannot_start", "stand_in")),
    "first-run.png": (("self_test", "ready", "sure", "sample"),),
    "update.png": (("model_checked", "model_installed", "model_rolled_back", "model_refused"),),
}
_GAP = 12  # px


def draw_all() -> dict[str, Image.Image]:
    """File name -> screen."""
    tile = draw_field("pre_b", 3).rgb
    drawn = {}
    for size in SIZES:
        named = {name: screen(verdict, size, tile if name != "benign" else None)
                 for name, verdict in (("sure", SURE), ("benign", BENIGN), ("unsure", UNSURE), ("dropped", DROPPED),
                                       ("dropped_unsure", DROPPED_UNSURE), ("stand_in", STAND_IN))}
        named |= {"sample": screen(SAMPLE, size), "mixed": screen(MIXED, size)}
        named |= {name: screen(told, size) for name, told in NOTICES.items()}
        drawn |= {f"{name}_{size[0]}x{size[1]}.png": image for name, image in named.items()}
    return drawn


def contact_sheet(drawn: dict[str, Image.Image], rows: tuple[tuple[str, ...], ...]) -> Image.Image:
    """Large screens in rows, and below each the small one at twice its size."""
    pitch = 240 + 128 + 2 * _GAP
    sheet = Image.new("RGB", (4 * (256 + _GAP) + _GAP, len(rows) * pitch + _GAP), "#9aa4b0")
    for row, names in enumerate(rows):
        for column, name in enumerate(names):
            x, y = _GAP + column * (256 + _GAP), _GAP + row * pitch
            sheet.paste(drawn[f"{name}_240x240.png"], (x + 8, y))
            small = drawn[f"{name}_128x64.png"].convert("RGB")
            sheet.paste(small.resize((256, 128), Image.Resampling.NEAREST), (x, y + 240 + _GAP))
    return sheet


if __name__ == "__main__":
    FOLDER.mkdir(parents=True, exist_ok=True)
    screens = draw_all()
    for picture, rows in SHEETS.items():
        contact_sheet(screens, rows).save(PICTURES / picture)
    for old in FOLDER.glob("*.png"):
        old.unlink()
    for name, image in screens.items():
        image.save(FOLDER / name)
        print(FOLDER / name)
