"""What is tried when a converted network does not hold: more ranging tiles. docs/decisions/009-calibration.md says what
is not tried, and why. Bias correction is no remedy here, it is always applied.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from alledge.manifest import Target

from .check import badness, failed_gates, gates
from .converted import Converted
from .judgement import Judgement, judge
from .options import Options
from .precision import needs_ranges
from .targets import load_target
from .tiles import WORDS
from .trained import Trained

_Try = tuple[Converted, Judgement, dict[str, Any]]


def convert_until_it_holds(trained: Trained, target: Target, options: Options,
                           say: Callable[[str], None]) -> tuple[Converted, Judgement, list[dict[str, Any]]]:
    """Convert and judge; when agreement or accuracy fall short, once more with every training tile there is.

    Returns:
        the better of what was tried, its judgement, and a record of each attempt.
    """
    tried = [_attempt(trained, target, options, say)]
    every = len(trained.calibration.truth)
    if not tried[0][2]["passed"] and needs_ranges(options.precision, target) and every > trained.ranging:
        say(f"it lost too much with ranges from {trained.ranging} tiles: trying all {every}")
        tried.append(_attempt(replace(trained, ranging=every), target, options, say))
    converted, judgement, _ = max(tried, key=lambda t: (t[2]["passed"], t[2]["agreement"]))
    return converted, judgement, [record for _, _, record in tried]


def _attempt(trained: Trained, target: Target, options: Options, say: Callable[[str], None]) -> _Try:
    converted = load_target(target)(trained, options)
    say(f"judging on {len(trained.held_out.truth)} {WORDS[trained.held_out.origin]}")
    judgement = judge(trained, converted)
    worst = min(judgement.comparisons.values(), key=badness)
    tiles = min(trained.ranging, len(trained.calibration.truth)) if needs_ranges(options.precision, target) else 0
    return converted, judgement, {"ranging_tiles": tiles, "agreement": worst.agreement,
                                  "passed": not failed_gates(gates(judgement.comparisons))}
