"""One field in, one verdict out: pure. No file, no thread, no clock; the caller measures time between the steps."""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from alledge.bundle import Bundle
from alledge.calibration import gate_width
from alledge.errors import BundleRefused
from alledge.palette import stain_figures
from alledge.preprocess import Prepared, prepare_field, resize
from alledge.quantisation import stored_input
from alledge.verdict import Verdict

from . import quality
from .decide import decide
from .engine import Engine, Input, Output


@dataclass(frozen=True)
class Look:
    """A field before the model: the whole tile uint8 [S, S, 3], what `prepare()` made of it, what the model is given.

    What only the decision needs is measured when it is first asked for: a run asks while the model is busy.
    """

    tile: NDArray[np.uint8]
    prepared: Prepared
    given: Input

    @cached_property
    def quality(self) -> dict[str, float]:
        """Quality figures, see `quality.measure`."""
        return quality.measure(self.tile)

    @cached_property
    def stain(self) -> NDArray[np.float64]:
        """`stain_figures` of what the model sees."""
        return stain_figures(self.prepared.tile)


class Pipeline:
    """A bundle on an engine: `pipeline(rgb) -> Verdict`.

    Raises:
        BundleRefused: when the bundle's domain gate does not fit its embedding and the stain figures.
    """

    def __init__(self, bundle: Bundle, engine: Engine) -> None:
        gate, wanted = bundle.manifest.calibration.gate, gate_width(bundle.manifest.embedding.shape[-1])
        if gate is not None and {len(gate.whiten), *map(len, gate.whiten), *map(len, gate.means)} != {wanted}:
            raise BundleRefused(f"{bundle.path}: expected a domain gate of {wanted} numbers (embedding and stain), "
                                f"received one of {len(gate.whiten)}; convert the run again with this version")
        self.bundle = bundle
        self.engine = engine

    def __call__(self, rgb: NDArray[np.uint8]) -> Verdict:
        """Judge uint8 [H, W, 3] RGB.

        Raises:
            UsageError: when the pixels are not uint8 [H, W, 3].
            EngineError: when the engine fails or returns no probabilities.
        """
        look = self.prepare(rgb)
        return self.decide(look, self.infer(look))

    def prepare(self, rgb: NDArray[np.uint8]) -> Look:
        """Crop, segment, mask and scale uint8 [H, W, 3] RGB."""
        settings = self.bundle.manifest.preprocessing
        tile = resize(rgb, settings.size)
        prepared = prepare_field(tile, settings)
        return Look(tile, prepared, stored_input(prepared, self.bundle.manifest.input))

    def infer(self, look: Look) -> Output:
        """Run the model on a prepared field."""
        return self.engine.infer(look.given)

    def decide(self, look: Look, output: Output) -> Verdict:
        """The verdict on a field whose model output is known."""
        calibration = self.bundle.manifest.calibration
        figures = {**look.quality, **quality.stained(output.probs, look.stain, calibration.gate)}
        doubts = (*quality.complaints(figures), *look.prepared.mask.warnings)
        return replace(
            decide(output, calibration, doubts, look.stain),
            quality=figures,
            coverage=look.prepared.mask.coverage,
            engine=output.engine or self.engine.name,
            faults=output.faults,
            bundle_id=self.bundle.id,
            caveat=self.bundle.caveat,
        )
