from datetime import date

from alledge import reference
from alledge.bundle import Bundle
from alledge.convert.issue import Issue


def test_what_an_issuer_says_is_laid_over_and_what_not_stays():
    before = Bundle.open(reference.BUNDLE).manifest.model_copy(update={"release": 3, "expires": date(2030, 1, 1)})
    after = Issue(release=4, boards=("ward-3",), latency_ms=80.0).laid_over(before)
    assert (after.release, after.expires, after.compatible, after.latency_ms) == (4, date(2030, 1, 1), ["ward-3"], 80.0)
    assert Issue().laid_over(before) == before
