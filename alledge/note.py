"""What an operator may write beside a result. Nobody is asked for a patient's name, and nothing here is a place for it.

No program can tell a name from a remark. What reads like a date of birth, a record or telephone number or an
e-mail address, or says itself that it is about a person, is refused; for the rest whoever writes is responsible.
"""

import re
import unicodedata

from alledge.errors import UsageError

LONGEST = 500  # characters: a remark, not a report
MOST_DIGITS = 6  # together: numbers of records, insurances and telephones have more
EXAMPLE = "slide was out of focus, taken again as S-0008"
_DATE = re.compile(r"(?<!\d)(\d{4}([-./])\d{1,2}\2\d{1,2}|\d{1,2}([-./])\d{1,2}\3(\d{4}|\d{2}))(?!\d)")
_NUMBER = re.compile(rf"\d(?:[ -]?\d){{{MOST_DIGITS},}}")
_ADDRESS = re.compile(r"\S@\S")
_PERSON = re.compile(r"\b(patient\w*|mrs?|dob|born|birth\w*|mrn|surname|ssn)\b", re.IGNORECASE)
_JOINERS = "\u200c\u200d"  # Persian and Indic scripts are written with them


def check_note(text: str) -> str:
    """The note as it is kept: one line without spaces around it, at most `LONGEST` characters.

    Raises:
        UsageError: for anything else, for control characters, and for what reads as if it were about a person. The
            message does not repeat what was entered.
    """
    note = text.strip()
    if not note or len(note) > LONGEST:
        raise _refused(f"1 to {LONGEST} characters", f"{len(note)}")
    if any(unicodedata.category(c) in ("Cc", "Cf", "Cs", "Cn", "Zl", "Zp") and c not in _JOINERS for c in note):
        raise _refused("one line of text", "control characters or line breaks")
    for shape, received in ((_DATE, "what may be a date of birth"), (_ADDRESS, "what may be an e-mail address"),
                            (_NUMBER, f"more than {MOST_DIGITS} digits together, which may be a person's number"),
                            (_PERSON, "a word that is about a person (patient, born ...)")):
        if shape.search(note):
            raise _refused("a remark on the field or the slide", received)
    return note


def _refused(expected: str, received: str) -> UsageError:
    return UsageError(f"note: expected {expected}, received {received}; write about the slide, e.g. {EXAMPLE!r}, never "
                      "a patient's name, number or date of birth")
