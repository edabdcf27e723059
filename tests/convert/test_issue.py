from datetime import date, timedelta

import pytest

from alledge import reference
from alledge.bundle import Bundle
from alledge.convert.cli import convert
from alledge.convert.issue import Issue, parse_day
from alledge.errors import UsageError


def test_what_an_issuer_says_is_laid_over_and_what_not_stays():
    before = Bundle.open(reference.BUNDLE).manifest.model_copy(update={"release": 3, "expires": date(2030, 1, 1)})
    after = Issue(release=4, boards=("ward-3",), latency_ms=80.0).laid_over(before)
    assert (after.release, after.expires, after.compatible, after.latency_ms) == (4, date(2030, 1, 1), ["ward-3"], 80.0)
    assert Issue().laid_over(before) == before


@pytest.mark.parametrize("rest", [{"target": "cpu"}, {"finish": reference.BUNDLE}])
def test_a_day_that_is_over_is_refused_before_anything_is_done(tmp_path, rest):
    with pytest.raises(UsageError, match=r"--expires 2020-01-01: that day is over.*expected 2\d{3}-"):
        convert(expires="2020-01-01", out=tmp_path / "bundle.alledge", **rest)
    assert not list(tmp_path.iterdir())


def test_today_is_a_last_day_and_no_wish_is_none():
    today = date.today()
    assert parse_day(today.isoformat()) == today
    assert parse_day(None) is None
    with pytest.raises(UsageError, match="that day is over"):
        parse_day((today - timedelta(days=2)).isoformat())
    with pytest.raises(UsageError, match="such as 2027-12-31"):
        parse_day("31.12.2027")
