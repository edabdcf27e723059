"""An engine that outlives its accelerator: what fails is named, started again, and replaced by the CPU meanwhile.

Nothing here waits for an accelerator while there is a field to judge: it is opened again aside, and taken back, once it
has reproduced the bundle's goldens, at the next field. docs/engines.md tells the whole policy.
"""

import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from threading import Lock, Thread

from alledge.bundle import Bundle
from alledge.errors import AlledgeError, BackendMissing, BundleRefused, EngineError

from .engine import IN_A_CHILD, Engine, Input, Output, open_engine, stand_in
from .faults import EngineFault
from .selftest import replay

RESTARTS, WITHIN_S = 5, 60.0  # how often an engine that fails at once is started again at once
PROBE_S = 10.0  # and how long to wait from then on, or when it cannot be opened at all
PROVE_S = 300.0  # how long an accelerator is trusted before it has to reproduce the goldens again


def supervise(bundle: Bundle, name: str | None = None, threads: int = 1) -> "Supervised":
    """Open a bundle's engine, proven on its goldens, with the bundle's CPU model as its stand-in.

    Args:
        bundle: verified.
        name: as for `open_engine`; threads: CPU threads, pinned.

    Raises:
        BundleRefused: also when this machine does not reproduce the goldens.
        AlledgeError: whatever else keeps the engine from being set up, or its stand-in from answering for it.
    """
    chosen = name or bundle.manifest.engine
    spare = stand_in(bundle.manifest, chosen)
    try:
        return Supervised(partial(_proven, bundle, chosen, threads), chosen,
                          None if spare is None else partial(_proven, bundle, spare, threads),
                          restarts=chosen in IN_A_CHILD, prove=partial(_prove, bundle))
    except (BackendMissing, EngineError) as error:
        if spare is None or isinstance(error, EngineFault):
            raise
        raise type(error)(f"{error}; until then this bundle runs with --engine {spare}") from error


class Supervised:
    """An `Engine` that keeps answering. Not for use by two threads at once, but for `name`, `faults` and `attend`."""

    def __init__(self, open_main: Callable[[], Engine], main: str, open_spare: Callable[[], Engine] | None = None, *,
                 restarts: bool = True, prove: Callable[[Engine], None] = lambda engine: None,
                 clock: Callable[[], float] = time.monotonic,
                 aside: Callable[[Callable[[], None]], None] | None = None) -> None:
        """Open the engine, or its stand-in when the engine has a fault that may pass.

        Args:
            open_main, open_spare: give a fresh engine that can be trusted; main: the name of the first.
            restarts: False for an engine in this very process, which one failed field does not spoil.
            prove: raises an `EngineFault` when an engine that was trusted computes something else by now.
            clock: seconds that never go back; aside: runs a function without waiting for it, else a thread.

        Raises:
            EngineFault: when neither can be opened.
            AlledgeError: whatever of `open_main` has no name as a fault: waiting does not mend it.
        """
        self._open_main, self._open_spare, self._main_name = open_main, open_spare, main
        self._restarts, self._prove, self._clock, self._aside = restarts, prove, clock, aside or _in_a_thread
        self._main: Engine | None = None
        self._lost: Engine | None = None  # to be closed, aside, before the next is opened
        self._spare: Engine | None = None
        self._lock = Lock()
        self._failures: deque[float] = deque(maxlen=RESTARTS)  # when it failed on a field
        self._due = 0.0
        self._proven_at = clock()
        self._fault: EngineFault | None = None
        self._opening = self._closed = False
        try:
            self._main = open_main()
        except EngineFault as fault:
            if open_spare is None:
                raise
            self._fault, self._due = fault, self._clock() + PROBE_S
            self._spare = self._opened_spare(open_spare)

    @property
    def name(self) -> str:
        """The engine's name, or "tflite for coral" while a stand-in answers."""
        main, spare = self._main, self._spare
        return self._main_name if main is not None or spare is None else f"{spare.name} for {self._main_name}"

    @property
    def faults(self) -> tuple[str, ...]:
        """Names of the faults that are on now, the cause first."""
        return self._faults(on_cpu=self._main is None and self._spare is not None)

    def infer(self, tensor: Input) -> Output:
        """Ask the engine, or its stand-in.

        Raises:
            EngineError: when there is nothing that can answer now; an `EngineFault` where that has a name.
        """
        self.attend()
        main = self._main
        if main is None:
            return self._stand_in(tensor)
        try:
            if self._restarts and self._clock() - self._proven_at >= PROVE_S:
                self._prove(main)
                self._proven_at = self._clock()
            output = main.infer(tensor)
        except EngineError as error:
            self._lose(error)
            if not self._restarts:
                raise
            self.attend()
            return self._stand_in(tensor, error)
        self._fault = None
        return output

    def attend(self) -> None:
        """Have the engine started again when that is due. Never waits; `infer` calls it, and an idle device may."""
        with self._lock:
            due = self._main is None and not self._opening and not self._closed and self._clock() >= self._due
            self._opening = self._opening or due
        if due:
            self._aside(self._reopen)

    def close(self) -> None:
        """Close both engines; one that is being opened is closed as soon as it is."""
        with self._lock:
            self._closed = True
            engines = (self._main, self._lost, self._spare)
            self._main = self._lost = self._spare = None
        for engine in engines:
            if engine is not None:
                engine.close()

    def _lose(self, error: EngineError) -> None:
        """Give the engine up for now."""
        self._fault = _named(error, "engine-failed")
        if not self._restarts:
            return
        with self._lock:
            self._lost, self._main = self._main, None
            self._due = self._clock() + (PROBE_S if self._unsteady() else 0.0)
            self._failures.append(self._clock())

    def _reopen(self) -> None:
        """In a thread of its own: every error has to end as a fault here."""
        engine, fault = None, None
        lost, self._lost = self._lost, None
        try:
            if lost is not None:
                lost.close()
            engine = self._open_main()
        except Exception as error:
            fault = _named(error, "engine-not-started")
        with self._lock:
            self._opening = False
            if not self._closed:
                self._main, self._fault = engine, fault
                self._proven_at = self._clock()
                self._due = self._proven_at + PROBE_S
                engine = None
        if engine is not None:
            engine.close()

    def _stand_in(self, tensor: Input, cause: EngineError | None = None) -> Output:
        fault = self._fault
        if self._spare is None and self._open_spare is not None:
            open_spare, self._open_spare = self._open_spare, None  # once: what fails would fail at every field
            self._spare = self._opened_spare(open_spare)
        if self._spare is None:
            raise cause or fault or EngineFault("engine-not-started")
        output = self._spare.infer(tensor)
        return replace(output, engine=f"{self._spare.name} for {self._main_name}", faults=self._faults(on_cpu=True),
                       detail=fault.detail if fault else "")

    def _opened_spare(self, open_spare: Callable[[], Engine]) -> Engine:
        try:
            return open_spare()
        except AlledgeError as error:
            fault = self._fault or EngineFault("engine-not-started")
            words = f"{fault.detail}; and the CPU cannot stand in: {error}"
            raise EngineFault(fault.fault.name, words.removeprefix("; and ")) from error

    def _faults(self, on_cpu: bool) -> tuple[str, ...]:
        fault, unsteady = self._fault, self._unsteady()
        cause = () if fault is None else (fault.fault.name, *(("engine-unsteady",) if unsteady else ()))
        return (*cause, *(("engine-on-cpu",) if on_cpu else ()))

    def _unsteady(self) -> bool:
        return len(self._failures) == RESTARTS and self._clock() - self._failures[0] < WITHIN_S


def _named(error: Exception, otherwise: str) -> EngineFault:
    return error if isinstance(error, EngineFault) else EngineFault(otherwise, str(error))


def _proven(bundle: Bundle, name: str, threads: int) -> Engine:
    """An engine that reproduces the bundle's goldens."""
    engine = open_engine(bundle, name, threads)
    try:
        _prove(bundle, engine)
    except BaseException:
        engine.close()
        raise
    return engine


def _prove(bundle: Bundle, engine: Engine) -> None:
    wrong = replay(bundle, engine)
    if wrong and engine.name in IN_A_CHILD:
        raise EngineFault("engine-disagrees", wrong[0])
    if wrong:
        raise BundleRefused(f"{bundle.path}: this machine does not reproduce what the bundle promises ({wrong[0]}); "
                            f"run `alledge doctor {bundle.path}`")


def _in_a_thread(work: Callable[[], None]) -> None:
    Thread(target=work, name="alledge-engine", daemon=True).start()
