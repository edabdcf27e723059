"""Commands that need nothing but the shared vocabulary: `synth` and `segment`."""

import shutil
import time
from pathlib import Path
from typing import Annotated, Any

import cv2
import numpy as np
import typer
from numpy.typing import NDArray

from alledge.errors import ImageError, OutputError, UsageError
from alledge.images import find_images, read_image, write_png
from alledge.output import emit, say
from alledge.segmentation import MODES, Mask
from alledge.segmentation import segment as find_nuclei
from alledge.synthetic import write_dataset


def synth(
    out: Annotated[Path, typer.Argument(help="Folder to write to; it must be new or empty.")],
    per_class: Annotated[int, typer.Option(min=1, max=100_000, help="Fields per class.")] = 40,
    seed: Annotated[int, typer.Option(min=0, help="Same seed, same bytes.")] = 0,
    size: Annotated[int, typer.Option(min=64, max=4096, help="Side of the square fields in pixels.")] = 224,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Draw synthetic smears in class folders, with true nucleus masks and a split CSV.

    Example: alledge synth smears --per-class 100 --seed 7
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"{out}: expected a new or empty folder, found files there; choose another one")
    started = time.monotonic()
    try:
        split = write_dataset(out, per_class, seed, size)
    except KeyboardInterrupt:
        shutil.rmtree(out)  # it was new or empty; half a data set without a split is of no use
        raise
    except OSError as error:
        raise OutputError(f"{out}: cannot be written ({error.strerror}); choose a folder with room that you own") \
            from error
    seconds = time.monotonic() - started
    if json:
        emit({"out": str(out), "split": str(split), "per_class": per_class, "seed": seed, "seconds": seconds})
    else:
        say(f"{4 * per_class} synthetic smears in {out} ({seconds:.1f} s); split: {split}")


def segment(
    images: Annotated[list[Path], typer.Argument(help="Image files, or folders of them.", metavar="IMAGE...")],
    out: Annotated[Path, typer.Option(help="Folder for masks and overlays.")],
    mode: Annotated[str, typer.Option(help=f"One of {', '.join(MODES)}.")] = "stain",
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Find the nuclei in images: a mask PNG (0/255) and an overlay each, coverage and cut.

    One unusable image does not stop the others; the exit code is then 1.

    Example: alledge segment smear.png --mode paper --out masks
    """
    if mode not in MODES:
        raise UsageError(f"--mode {mode!r} is unknown: expected one of {', '.join(MODES)}")
    results, faults = [], []
    for path, name in _named(images):
        try:
            results.append(_segment_file(path, name, mode, out))
        except ImageError as error:
            faults.append(str(error))
            say(f"error: {error}")
    if json:
        emit({"images": results, "failed": faults})
    else:
        for r in results:
            typer.echo(f"{r['path']}: {r['coverage']:.1%} nuclei, cut {r['cut']}, mask {r['mask']}"
                       + "".join(f" [{w}]" for w in r["warnings"]))
    if faults:
        raise typer.Exit(ImageError.exit_code)


def _segment_file(path: Path, name: str, mode: str, out: Path) -> dict[str, Any]:
    rgb = read_image(path)
    started = time.perf_counter()
    mask = find_nuclei(rgb, mode)
    milliseconds = (time.perf_counter() - started) * 1e3
    mask_path = out / f"{name}_mask.png"
    write_png(mask_path, mask.pixels)
    write_png(out / f"{name}_overlay.png", _overlay(rgb, mask))
    return {"path": str(path), "mask": str(mask_path), "mode": mode, "coverage": mask.coverage, "cut": mask.cut,
            "warnings": list(mask.warnings), "ms": milliseconds}


def _overlay(rgb: NDArray[np.uint8], mask: Mask) -> NDArray[np.uint8]:
    """The image with the outline of the mask in green, which no stain is."""
    edges, _ = cv2.findContours(mask.pixels, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    return np.asarray(cv2.drawContours(rgb.copy(), edges, -1, (0, 200, 60), max(1, min(rgb.shape[:2]) // 300)))


def _named(images: list[Path]) -> list[tuple[Path, str]]:
    """Files with an output name each: the stem, with as many folders before it as make all names differ.

    Raises:
        UsageError: for a path that does not exist, before any other is worked on.
    """
    absent = [str(path) for path in images if not path.exists()]
    if absent:
        raise UsageError(f"expected image files or folders, found nothing at {', '.join(absent)}")
    files = [f for path in images for f in (_found_in(path) if path.is_dir() else [path])]
    files = list(dict.fromkeys(files))
    for parts in range(1, 1 + max(len(f.absolute().parts) for f in files)):
        names = ["_".join(f.absolute().with_suffix("").parts[-parts:]) for f in files]
        if len(set(names)) == len(names):
            return list(zip(files, names, strict=True))
    names = [f"{f.stem}_{f.suffix[1:]}_{i}" for i, f in enumerate(files)]  # a.png beside a.jpg
    return list(zip(files, names, strict=True))


def _found_in(folder: Path) -> list[Path]:
    files = find_images(folder)
    if not files:
        raise UsageError(f"{folder}: expected image files in the folder, found none")
    return files
