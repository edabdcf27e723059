"""What the machine says of itself, between and instead of verdicts: how it is, and what to do. Pure."""

from dataclasses import dataclass
from enum import Enum

from alledge.verdict import RESEARCH_USE_ONLY

from .faults import Fault


class Tone(Enum):
    """Whether one waits, acts or mends."""

    BUSY = "busy"
    READY = "ready"
    FAULT = "fault"


@dataclass(frozen=True)
class Notice:
    """Attributes: heading: in a word or two; says: how it is; remedy: what the person in front of it can do."""

    heading: str
    says: str
    remedy: str = ""
    tone: Tone = Tone.BUSY

    @property
    def words(self) -> list[str]:
        """The same for a terminal, and for whoever cannot see the picture."""
        return [f"{self.heading}: {self.says}", *([f"  do: {self.remedy}"] if self.remedy else []),
                f"  {RESEARCH_USE_ONLY}"]


SELF_TEST = Notice("Self-test", "Repeating what this model answered when it was made.", "Please wait.")
OPENING = Notice("Opening", "The camera is being opened.", "Please wait.")
STOPPED = Notice("Stopped", "All results are on disk.", "Switch off, or start it again.")

_HOW = {
    "gpio": "Press for a field. Hold to close the sample.",
    "keyboard": "Space for a field, s to close the sample, q to stop.",
    "interval": "It takes the next field by itself.",
    None: "It takes the next field by itself.",
}


def ready(trigger: str | None) -> Notice:
    """Waiting for a field; trigger: name of the one that is waited for, None where every frame is judged."""
    return Notice("Ready", "Waiting for a field.", _HOW.get(trigger, _HOW[None]), Tone.READY)


def cannot_start(sentence: str) -> Notice:
    """Start-up failed, and why."""
    return Notice("Cannot start", _sentence(sentence), "Mend this, start again.",
                  Tone.FAULT)


def broke_off(sentence: str) -> Notice:
    """A run ended on its own, and why."""
    return Notice("Broke off", _sentence(sentence), "Results are kept. Start again.",
                  Tone.FAULT)


CHECKING_MODEL = Notice("Model update", "The new model shows what it can.", "Please wait.")


def installed(identity: str, words: str) -> Notice:
    """A model was installed and kept, or is on trial, and what was seen of it."""
    return Notice("Model update", _sentence(words), f"In use: {identity}", Tone.READY)


def rolled_back(why: str) -> Notice:
    """An installed model was left for the one before, and why."""
    return Notice("Model rolled back", _sentence(why), "The model before it is in use.", Tone.FAULT)


def refused(why: str) -> Notice:
    """A model was not installed, and why."""
    return Notice("Model refused", _sentence(why), "The model in use stays.", Tone.FAULT)


def settings_kept(sentence: str) -> Notice:
    """A new configuration was not taken, and why."""
    return Notice("Old settings kept", _sentence(sentence), "Mend the new ones, then reload.", Tone.FAULT)


def of_fault(fault: Fault) -> Notice:
    """A fault of the machine, while it lasts."""
    return Notice(fault.title, _sentence(fault.says), _sentence(fault.remedy), Tone.FAULT)


def over(fault: Fault) -> Notice:
    """A fault that has ended by itself, or been mended."""
    return Notice(fault.title, "It is over.", tone=Tone.READY)


def _sentence(text: str) -> str:
    """With a capital letter (but for a file's name) and a full stop, as it stands alone on a screen."""
    start = text[:1].upper() if text.partition(" ")[0].isalpha() else text[:1]
    return start + text[1:] + ("" if text.endswith((".", "!", "?", ")")) else ".")
