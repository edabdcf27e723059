"""The golden screens: `python tests/device/screens.py` draws them again after an intended change; look at them.

It also draws the README's picture of the displays.
"""

from dataclasses import replace
from pathlib import Path

from PIL import Image

from alledge.device.screen import LARGE, SMALL, fault_screen, screen
from alledge.synthetic import draw_field
from alledge.verdict import GATE_NOT_MET, Verdict

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
FAULT = "camera file://nope cannot be opened: expected an image or a folder, found nothing there"
PICTURE = Path(__file__).resolve().parents[2] / "docs" / "images" / "displays.png"
_GAP = 12  # px


def draw_all() -> dict[str, Image.Image]:
    """File name -> screen."""
    tile = draw_field("pre_b", 3).rgb
    drawn = {}
    for size in (SMALL, LARGE):
        for name, verdict in (("sure", SURE), ("benign", BENIGN), ("unsure", UNSURE),
                              ("dropped", DROPPED), ("dropped_unsure", DROPPED_UNSURE)):
            drawn[f"{name}_{size[0]}x{size[1]}.png"] = screen(verdict, size, tile if name != "benign" else None)
        drawn[f"fault_{size[0]}x{size[1]}.png"] = fault_screen(FAULT, size)
    return drawn


def contact_sheet(drawn: dict[str, Image.Image]) -> Image.Image:
    """The large screens in a row, the small ones at twice their size below."""
    sheet = Image.new("RGB", (4 * 256 + 5 * _GAP, 240 + 128 + 3 * _GAP), "#9aa4b0")
    for row, size, factor in ((0, LARGE, 1), (1, SMALL, 2)):
        for column, name in enumerate(("sure", "benign", "unsure", "fault")):
            image = drawn[f"{name}_{size[0]}x{size[1]}.png"].convert("RGB")
            image = image.resize((image.width * factor, image.height * factor), Image.Resampling.NEAREST)
            sheet.paste(image, (_GAP + column * (256 + _GAP), _GAP + row * (240 + _GAP)))
    return sheet


if __name__ == "__main__":
    FOLDER.mkdir(parents=True, exist_ok=True)
    screens = draw_all()
    contact_sheet(screens).save(PICTURE)
    for name, image in screens.items():
        image.save(FOLDER / name)
        print(FOLDER / name)
