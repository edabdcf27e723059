"""The live view: pure in what it shows, and really on a terminal."""

import io
import os
import pty
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from alledge.bundle import Bundle
from alledge.device.events import FaultEvent
from alledge.device.faults import FAULTS
from alledge.device.live import State, view
from alledge.sample import SampleVerdict
from alledge.verdict import RESEARCH_USE_ONLY, Verdict

VERDICT = Verdict("pre_b", 0.93, {"benign": 0.03, "early_pre_b": 0.04, "pre_b": 0.93, "pro_b": 0.001}, sequence=12,
                  quality={"focus": 4.2}, timings_ms={"infer": 2.5}, engine="tflite", bundle_id="b1", sample="S-0001")


def drawn(state: State) -> str:
    out = io.StringIO()
    Console(file=out, width=100, force_terminal=False).print(view(state))
    return out.getvalue()


def test_it_shows_the_verdict_its_picture_and_the_pace() -> None:
    state = State()
    assert "waiting for a field" in drawn(state)
    for second in range(5):
        state.tell(VERDICT, second / 2)
    text = drawn(state)
    for part in ("Pre-B  93%", "field 12", "focus 4.2", "infer 2.5", "sample S-0001", "2.0 a second",
                 RESEARCH_USE_ONLY):
        assert part in text, part


def test_it_shows_why_there_is_no_verdict_and_what_is_wrong() -> None:
    state = State()
    state.tell(replace(VERDICT, verdict="inconclusive", reasons=("out of focus: turn it",)), 0)
    state.note(FaultEvent(FAULTS["camera-stalled"], True, "now"))
    text = drawn(state)
    assert "why: out of focus" in text
    assert f"FAULT {FAULTS['camera-stalled'].sentence}" in text
    state.note(FaultEvent(FAULTS["camera-stalled"], False, "now"))
    state.tell_sample(SampleVerdict("S-0001", "pre_b", 0.9, {}, votes={"pre_b": 5}))
    text = drawn(state)
    assert "FAULT" not in text
    assert "closed S-0001: Pre-B  90% (5 of 5 fields answered)" in text
    assert "sample S-0001" not in text
    state.tell_sample(SampleVerdict("S-0001", "inconclusive", 0.9, {}, ("too few fields: 1",), votes={"pre_b": 1}))
    assert "why: too few fields: 1" in drawn(state)


def test_on_a_terminal_a_run_is_live_and_headless_prints_lines(onnx_bundle: Bundle, tmp_path: Path) -> None:
    ask = [sys.executable, "-m", "alledge", "run", str(onnx_bundle.path), "--camera", "synthetic://?seed=1&size=96",
           "--frames", "3"]
    seen = {}
    for name, more in (("live", []), ("headless", ["--headless"])):
        ours, theirs = pty.openpty()
        with subprocess.Popen([*ask, *more, "--results", str(tmp_path / f"{name}.db")], stdout=theirs,
                              stderr=subprocess.PIPE, env={**os.environ, "TERM": "xterm", "COLUMNS": "100"}) as process:
            os.close(theirs)
            seen[name] = _read(ours)
            assert process.wait(60) == 0
    assert "3 fields" in seen["live"]
    assert "╭" in seen["live"]
    assert "╭" not in seen["headless"]
    assert seen["headless"].count(RESEARCH_USE_ONLY) == 3


def _read(terminal: int) -> str:
    """Until the other end is closed."""
    parts = []
    try:
        while part := os.read(terminal, 65536):
            parts.append(part)
    except OSError:  # how Linux says so
        pass
    os.close(terminal)
    return b"".join(parts).decode("utf-8", "replace")
