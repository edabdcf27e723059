"""`alledge results` as a user runs it: verified, witnessed, backed up, exported."""

import csv
import json
import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from alledge.config import BundleSettings, DeviceConfig
from alledge.device.archive import FRAMES, MASKS, Storage, find
from alledge.device.camera import Frame
from alledge.device.exports import outward
from alledge.device.sink import open_sink
from alledge.device.sink.sqlite import SqliteSink
from alledge.device.store.backup import back_up
from alledge.device.store.rows import read_results
from alledge.device.store.verification import verify
from alledge.device.store.witness import read_witnesses, witness
from alledge.device.stored import export
from alledge.errors import SinkError, UsageError
from alledge.images import encode_png, read_image
from alledge.labels import LABELS
from alledge.signing import new_key
from alledge.synthetic import draw_field
from alledge.verdict import Verdict

SHARES = dict.fromkeys(LABELS, 0.01) | {"pre_b": 0.97}
SURE = Verdict("pre_b", 0.97, SHARES, source="/srv/Jane Doe.png", note="second slide", engine="tflite",
               bundle_id="0" * 16, taken_at="2026-01-02T03:04:05.678+00:00", sample="S-0001",
               gates={"confidence_least": 0.75}, quality={"focus": 12.5}, camera={"gain": "1.0", "source": "Jane"})
UNSURE = replace(SURE, verdict="inconclusive", confidence=0.4, probabilities={}, reasons=("out of focus",),
                 faults=("engine-crashed",), sample="S-0002")
Cli = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """Ten results of two samples and none."""
    path = tmp_path / "results.db"
    with closing(open_sink("sqlite", path)) as sink:
        for n in range(10):
            sink.write(replace(UNSURE if n % 3 else SURE, sample=("S-0001", "S-0002", "")[n % 3]))
    return path


def change(path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(path)) as other, other:
        for statement in statements:
            other.execute(statement)


MANIPULATIONS = {
    "edited": "UPDATE results SET body = replace(body, '0.97', '0.57') WHERE sequence = 4",
    "one space": "UPDATE results SET body = body || ' ' WHERE sequence = 4",
    "deleted": "DELETE FROM results WHERE sequence = 4",
    "first deleted": "DELETE FROM results WHERE sequence = 1",
    "tail cut": "DELETE FROM results WHERE sequence > 7",
    "emptied": "DELETE FROM results",
    "renumbered": "UPDATE results SET sequence = 40 WHERE sequence = 4",
    "inserted": "INSERT INTO results (sequence, body, hash) SELECT -1, body, hash FROM results WHERE sequence = 4",
    "appended": "INSERT INTO results (body, hash) SELECT body, hash FROM results WHERE sequence = 10",
    "hash edited": "UPDATE results SET hash = replace(hash, '0', '1') WHERE sequence = 10",
    "headless": "DELETE FROM chain",
    "new beginning": "UPDATE chain SET genesis = '{}'",
    "triggered": "CREATE TRIGGER t AFTER INSERT ON results BEGIN DELETE FROM results; END",
    "counted back": "UPDATE sqlite_sequence SET seq = 3",
}


@pytest.mark.parametrize("name", MANIPULATIONS)
def test_every_manipulation_is_found(database: Path, name: str) -> None:
    assert verify(database).faults == ()
    change(database, MANIPULATIONS[name])
    assert verify(database).faults
    if name not in ("triggered", "counted back"):  # the rows themselves are as they were
        with pytest.raises(SinkError, match=r"results\.db"):
            list(read_results(database))


def test_a_view_in_the_place_of_the_rows_is_refused(database: Path) -> None:
    change(database, "ALTER TABLE results RENAME TO kept", "CREATE VIEW results AS SELECT * FROM kept")
    for attempt in (verify, lambda path: list(read_results(path)), lambda path: open_sink("sqlite", path)):
        with pytest.raises(SinkError, match="not one of results"):
            attempt(database)


def test_swapped_rows_are_found(database: Path) -> None:
    change(database, "UPDATE results SET sequence = -4 WHERE sequence = 4",
           "UPDATE results SET sequence = 4 WHERE sequence = 5", "UPDATE results SET sequence = 5 WHERE sequence = -4")
    assert "row 4 does not follow" in verify(database).faults[0]


def rewritten(database: Path) -> None:
    """What someone does who knows all of this software: cut the tail and state a head that fits."""
    change(database, "DELETE FROM results WHERE sequence > 7", "UPDATE sqlite_sequence SET seq = 7",
           "UPDATE chain SET sequence = 7, hash = (SELECT hash FROM results WHERE sequence = 7)")


def test_only_a_witness_knows_of_a_tail_cut_by_someone_who_knows_the_scheme(database: Path, tmp_path: Path) -> None:
    rows = list(read_results(database))
    kept = tmp_path / "heads.jsonl"
    kept.write_text('{"sequence": 3\nnot json\n' + json.dumps(rows[2].to_json()) + "\n"
                    + json.dumps(witness(verify(database).head)) + "\n")  # type: ignore[arg-type]
    assert verify(database, read_witnesses(kept)).witnessed == 2
    rewritten(database)
    assert verify(database).faults == ()  # as docs/results-store.md says
    assert verify(database, read_witnesses(kept)).faults == (f"row 10 is gone: its witness says {rows[9].hash}",)


def test_a_signed_head_counts_and_an_altered_one_is_refused(alledge: Cli, database: Path, tmp_path: Path) -> None:
    key, head = new_key(tmp_path / "lab.key"), tmp_path / "head.json"
    head.write_text(alledge("results", "head", "--results", database, "--sign", tmp_path / "lab.key", "--json").stdout)
    verifying = ("results", "verify", "--results", database, "--against", head, "--signed-by")
    done = alledge(*verifying, key.public)
    assert (done.returncode, "1 witnesses agree" in done.stdout) == (0, True), done.stderr
    done = alledge(*verifying, "0" * 64)
    assert (done.returncode, "received none" in done.stderr) == (2, True)
    head.write_text(head.read_text().replace('"sequence": 10', '"sequence": 9'))
    done = alledge(*verifying, key.public)
    assert (done.returncode, "does not verify: the line was altered" in done.stderr) == (2, True)


def test_verify_says_what_is_wrong_and_fails(alledge: Cli, database: Path) -> None:
    done = alledge("results", "verify", "--results", database)
    assert (done.returncode, done.stdout.count("10 rows, head 10 ")) == (0, 1)
    change(database, MANIPULATIONS["edited"])
    done = alledge("results", "verify", "--results", database, "--json")
    found = json.loads(done.stdout)
    assert (done.returncode, found["ok"], found["rows"]) == (1, False, 10)
    assert found["faults"] == ["row 4 does not follow from what was written before it"]
    assert len(done.stderr.splitlines()) == 1
    for command in (("list",), ("show", "4"), ("export", database.parent / "out.csv")):
        assert alledge("results", *command, "--results", database).returncode == 1
        unverified = alledge("results", *command, "--results", database, "--unverified")
        assert unverified.returncode == 0
        assert "may not be what was written" in unverified.stderr
    assert alledge("results", "head", "--results", database).returncode == 1
    assert alledge("results", "backup", database.parent / "b.db", "--results", database).returncode == 1
    assert not (database.parent / "b.db").exists()


def test_a_backup_is_made_while_results_are_written_and_never_overwritten(database: Path, tmp_path: Path) -> None:
    stick = tmp_path / "stick"
    with closing(open_sink("sqlite", database)) as sink:
        first = back_up(database, stick)
        sink.write(SURE)
        again = back_up(database, stick)
    assert [(b.path.name, b.made, b.rows) for b in (first, again, back_up(database, stick))] == [
        ("results-10.db", True, 10), ("results-11.db", True, 11), ("results-11.db", False, 11)]
    assert list(read_results(again.path)) == list(read_results(database))
    assert sorted(p.name for p in stick.iterdir()) == ["results-10.db", "results-11.db"]
    with pytest.raises(SinkError, match="never overwritten"):
        back_up(database, first.path)
    change(again.path, MANIPULATIONS["edited"])
    with pytest.raises(SinkError, match="does not verify"):
        back_up(database, stick)


def test_tables_hold_every_field(database: Path, tmp_path: Path) -> None:
    with closing(open_sink("sqlite", database)) as sink:
        sink.write(replace(SURE, note="=cmd|' /C calc'!A0"))
    kept = list(read_results(database))
    assert export(database, tmp_path / "r.csv").results == 11
    table = list(csv.DictReader((tmp_path / "r.csv").read_text().splitlines()))
    assert [row["hash"] for row in table] == [row.hash for row in kept]
    assert (table[0]["p_pre_b"], table[1]["reasons"], table[1]["faults"]) == ("0.97", "out of focus", "engine-crashed")
    assert table[10]["note"].startswith("'=")  # a spreadsheet shows it and runs nothing
    export(database, tmp_path / "r.jsonl", sample="S-0001")
    lines = [json.loads(line) for line in (tmp_path / "r.jsonl").read_text().splitlines()]
    assert lines == [row.to_json() for row in kept if row.sample == "S-0001"]
    export(database, tmp_path / "r.json", verdict="pre_b")
    assert len(json.loads((tmp_path / "r.json").read_text())["results"]) == 5
    with pytest.raises(UsageError, match=r"ends in \.csv, \.json, \.jsonl, or a folder and --format html or fhir"):
        export(database, tmp_path / "r.xlsx")


def test_fhir_rounds_no_probability_to_certainty(tmp_path: Path) -> None:
    pytest.importorskip("fhir.resources")
    with closing(open_sink("sqlite", tmp_path / "r.db")) as sink:
        sink.write(replace(SURE, probabilities=dict(zip(LABELS, (1.0, 0.99999991, 0.0, 0.25), strict=True))))
    document = json.loads(export(tmp_path / "r.db", tmp_path, "fhir").paths[0].read_bytes())
    figures = [part["valueQuantity"] for part in document["entry"][1]["resource"]["component"]]
    assert [(figure.get("comparator"), float(figure["value"])) for figure in figures] == [
        (">", 0.999999), (">", 0.999999), ("<", 0.000001), (None, 0.25)]


def test_fhir_is_valid_and_names_nobody(database: Path, tmp_path: Path) -> None:
    bundle = pytest.importorskip("fhir.resources.R4B.bundle").Bundle
    done = export(database, tmp_path / "fhir", "fhir")
    assert [p.name for p in done.paths] == ["S-0001.fhir.json", "S-0002.fhir.json", "no-sample.fhir.json"]
    for path, fields in zip(done.paths, (4, 3, 3), strict=True):
        text = path.read_text()
        assert not any(word in text for word in ("Jane", "Doe", "second slide", '"subject"', '"Patient"'))
        resources = [entry.resource for entry in bundle.model_validate_json(text).entry]
        reports = [r for r in resources if r.get_resource_type() == "DiagnosticReport"]
        observations = [r for r in resources if r.get_resource_type() == "Observation"]
        assert (len(reports), len(observations)) == (path.name != "no-sample.fhir.json", fields)
        assert {o.status for o in observations} == {"preliminary"}
        urls = [entry["fullUrl"] for entry in json.loads(text)["entry"]]
        assert len(set(urls)) == len(urls)
        for report in reports:
            assert "RESEARCH USE ONLY" in report.conclusion
            assert [reference.reference for reference in report.result] == urls[1:]


def test_one_sample_may_be_one_file(database: Path, tmp_path: Path) -> None:
    assert export(database, tmp_path / "one.html", sample="S-0001").paths == (tmp_path / "one.html",)
    with pytest.raises(UsageError, match="expected one sample for one file, received 3"):
        export(database, tmp_path / "all.html")


def test_times_of_a_clock_that_was_never_set_are_not_passed_on(tmp_path: Path) -> None:
    pytest.importorskip("fhir.resources")
    with closing(open_sink("sqlite", tmp_path / "r.db")) as sink:
        for at in ("2026-03-29T02:59:59+00:00", "1970-01-01T00:00:09+00:00", "2026-03-28T00:00:00+00:00"):
            sink.write(replace(SURE, taken_at=at))
    document = export(tmp_path / "r.db", tmp_path, "fhir").paths[0].read_text()
    resources = [entry["resource"] for entry in json.loads(document)["entry"]]
    assert "1970-01" not in document  # hashes hold any four digits sooner or later
    assert "effectivePeriod" not in resources[0]
    assert ["effectiveDateTime" in r for r in resources[1:]] == [True, False, True]
    assert [row.sequence for row in read_results(tmp_path / "r.db")] == [1, 2, 3]


def test_what_leaves_has_a_key_and_no_names() -> None:
    told = json.dumps(outward(replace(SURE, hash="a" * 64)))
    assert "Jane" not in told
    assert "second slide" not in told
    assert json.loads(told)["key"] == "a" * 64


@pytest.fixture
def archived(tmp_path: Path) -> tuple[Path, Path]:
    """A database of two results with their pictures: one from pixels, one as it was captured."""
    storage, database = Storage(tmp_path / "r.db", tmp_path / "captures"), tmp_path / "r.db"
    with closing(open_sink("sqlite", database)) as sink:
        for seed in (1, 2):
            drawn = draw_field("pre_b", seed, 96)
            frame = Frame(drawn.rgb, SURE.taken_at, encoded=encode_png(drawn.rgb) if seed == 2 else b"")
            kept = storage.keep(frame, np.asarray(drawn.nuclei, np.uint8))
            sink.write(replace(SURE, frame_sha256=kept.frame_sha256, mask_sha256=kept.mask_sha256))
    return database, tmp_path / "captures"


def test_the_page_of_a_sample_needs_nothing_else(archived: tuple[Path, Path], tmp_path: Path) -> None:
    database, archive = archived
    page = export(database, tmp_path / "out", "html", archive=archive).paths[0].read_text()
    assert page.count("data:image/jpeg;base64,") == 2
    assert "RESEARCH USE ONLY" in page
    assert not any(word in page for word in ("<script", "http://", "https://", "<link"))
    altered = find(archive, FRAMES, next(read_results(database)).frame_sha256)
    assert altered is not None
    altered.write_bytes(encode_png(draw_field("pre_b", 9, 96).rgb))
    page = export(database, tmp_path / "out", "html", archive=archive).paths[0].read_text()
    assert (page.count("data:image/jpeg"), page.count("the archived picture was altered")) == (1, 1)
    page = export(database, tmp_path / "out", "html").paths[0].read_text()
    assert page.count("the picture was not archived") == 2


def test_of_a_camera_that_gives_one_the_full_picture_is_kept(tmp_path: Path) -> None:
    large = draw_field("pre_b", 1, 128).rgb
    frame = Frame(np.ascontiguousarray(large[::2, ::2]), "now", original=large)
    kept = Storage(tmp_path / "r.db", tmp_path / "captures").keep(frame)
    (picture,) = (tmp_path / "captures" / "frames").rglob("*.png")
    np.testing.assert_array_equal(read_image(picture), large)
    assert kept.frame_sha256 == picture.stem


def test_pictures_that_are_missing_or_altered_are_found(alledge: Cli, archived: tuple[Path, Path]) -> None:
    database, archive = archived
    check = ("results", "verify", "--results", database, "--archive", archive, "--json")
    assert json.loads(alledge(*check).stdout)["ok"]
    rows = list(read_results(database))
    frame, mask = find(archive, FRAMES, rows[0].frame_sha256), find(archive, MASKS, rows[1].mask_sha256)
    assert frame is not None
    assert mask is not None
    frame.write_bytes(frame.read_bytes()[:-20])
    mask.unlink()
    done = alledge(*check)
    assert done.returncode == 1
    assert json.loads(done.stdout)["faults"] == [f"result 1: its frame {frame} was altered or damaged",
                                                 "result 2: its mask is not in the archive"]


def test_storage_refuses_at_its_limits_and_recovers_by_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    frame = Frame(draw_field("pre_b", 1, 96).rgb, "")
    storage = Storage(tmp_path / "r.db", tmp_path / "captures", quota=10)
    assert storage.fault() is None
    kept = storage.keep(frame)
    assert storage.fault() is not None
    assert storage.fault().name == "archive-full"  # type: ignore[union-attr]
    path = find(tmp_path / "captures", FRAMES, kept.frame_sha256)
    assert path is not None
    path.rename(tmp_path / "moved.png")
    assert storage.fault() is None
    floor = Storage(tmp_path / "r.db", floor=10**18)
    assert floor.fault() is not None
    assert floor.fault().name == "storage-full"  # type: ignore[union-attr]
    assert storage.keep(frame) == kept == floor.keep(frame)  # one name with and without an archive
    with pytest.raises(SinkError, match="/proc"):
        Storage(tmp_path / "r.db", Path("/proc/captures")).keep(frame)


def test_a_run_archives_what_it_judged_and_tells_the_journal(alledge: Cli, onnx_bundle: Any, tmp_path: Path) -> None:
    settings = tmp_path / "device.toml"
    settings.write_text(f'[results]\ndatabase = "{tmp_path}/r.db"\narchive = "{tmp_path}/captures"\nfloor = 1\n'
                        'note = "stain B"\n'
                        'jsonl = "-"\n[display]\nname = "terminal"\n[display.options]\nstream = "stderr"\n')
    done = alledge("run", onnx_bundle.path, "--config", settings, "--camera", "synthetic://?seed=1&size=96",
                   "--frames", 3)
    assert done.returncode == 0, done.stderr
    told = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    rows = list(read_results(tmp_path / "r.db"))
    assert [line["hash"] for line in told] == [row.hash for row in rows]
    assert all(row.frame_sha256 and row.mask_sha256 and row.note == "stain B" and "confidence_least" in row.gates
               for row in rows)
    witnesses = tmp_path / "journal.jsonl"
    witnesses.write_text(done.stdout)
    done = alledge("results", "verify", "--config", settings, "--archive", tmp_path / "captures", "--against",
                   witnesses)
    assert (done.returncode, "3 witnesses agree" in done.stdout) == (0, True), done.stderr
    done = alledge("results", "show", 2, "--config", settings)
    assert rows[1].hash in done.stdout


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 6 MB."""
    place = tmp_path / "disk"
    place.mkdir()
    if os.name != "posix" or os.geteuid() or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", place],
                                                            check=False, capture_output=True).returncode:
        pytest.skip("only root may mount the small file system that is filled here")
    yield place
    subprocess.run(["umount", place], check=True)


def test_a_full_disk_is_said_and_waited_out(onnx_bundle: Any, small_disk: Path, tmp_path: Path) -> None:
    settings, told, said = tmp_path / "device.toml", tmp_path / "told", tmp_path / "said"
    settings.write_text(f'[results]\ndatabase = "{small_disk}/r.db"\narchive = "{small_disk}/captures"\nfloor = 2\n'
                        '[trigger]\nname = "interval"\noptions = { seconds = 0.1 }\n')
    with told.open("w") as out, said.open("w") as err:
        running = subprocess.Popen([sys.executable, "-m", "alledge", "run", onnx_bundle.path, "--config", settings,
                                    "--camera", "synthetic://?seed=1&size=96", "--json"], stdout=out, stderr=err)
    try:
        wait_until(lambda: len(told.read_text().splitlines()) > 2)
        (small_disk / "filler").write_bytes(bytes(5_000_000))
        wait_until(lambda: "too little space" in said.read_text())
        while_full = len(told.read_text().splitlines())
        time.sleep(0.5)
        assert len(told.read_text().splitlines()) <= while_full + 3  # those that were captured before
        (small_disk / "filler").unlink()
        wait_until(lambda: len(told.read_text().splitlines()) > while_full + 5)
        running.terminate()
        assert running.wait(20) in (0, 3), said.read_text()
    finally:
        running.kill()
        running.wait()
    assert [json.loads(line)["sequence"] for line in told.read_text().splitlines()] == [
        row.sequence for row in read_results(small_disk / "r.db")]
    assert verify(small_disk / "r.db").faults == ()


def wait_until(true: Callable[[], bool], seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not come to pass"
        time.sleep(0.05)


def test_a_picture_that_cannot_be_kept_fails_its_result_and_no_other(onnx_bundle: Any, tmp_path: Path) -> None:
    from concurrent.futures import ThreadPoolExecutor
    from threading import Event

    from alledge.device.camera import open_camera
    from alledge.device.stages import Pending, capture, infer, keep, prepare
    from alledge.device.station import open_pipeline

    settings = DeviceConfig(bundle=BundleSettings(path=onnx_bundle.path))
    broken = Storage(tmp_path / "r.db", Path("/proc/captures"))
    with open_pipeline(settings) as pipeline, closing(SqliteSink(tmp_path / "r.db")) as database, \
            closing(open_camera("synthetic://?seed=1&size=96")) as camera, ThreadPoolExecutor(1) as model:
        answers = infer(pipeline, prepare(pipeline, capture(camera, Event()), model, 2, archived=True))
        for pending in keep(pipeline, answers, database, broken):
            assert isinstance(pending, Pending)
            assert "/proc/captures" in str(pending.stored.exception(20))
    assert list(read_results(tmp_path / "r.db")) == []
