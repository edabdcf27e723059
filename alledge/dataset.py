"""Class folders of smear images, and the CSV that says which of them train, validate and test."""

import csv
import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from alledge.errors import DataError, UsageError
from alledge.images import find_images
from alledge.labels import LABELS, find_label

SUBSETS = ("train", "val", "test")
FOLD_COLUMNS = {"group": "fold", "family": "family", "block": "block", "random": ""}
WHOLE_GROUPS = ("group", "family")  # kinds of folds that may cut none; the other two are there to be looked at
VALIDATION_SHARE = 0.15
TEST_SHARE = 0.25
_NAMED = 3  # how many offending files a message names


@dataclass(frozen=True)
class Item:
    """One labelled image file. `columns` holds the split CSV's other columns (group, fold, family ...)."""

    path: Path
    label: str
    md5: str
    subset: str = ""
    columns: Mapping[str, str] = field(default_factory=dict)

    @property
    def group(self) -> str:
        """What must never be cut by a split: the CSV's `group`, else identical files."""
        return self.columns.get("group") or self.md5

    @property
    def index(self) -> int:
        """Position of the label in `LABELS`."""
        return LABELS.index(self.label)


@dataclass(frozen=True)
class Dataset:
    """Items in file order and the SHA-256 of the split (file hashes, labels and subsets) they follow."""

    root: Path
    items: tuple[Item, ...]

    def subset(self, name: str) -> tuple[Item, ...]:
        """Items of `train`, `val`, `test`, or of `all`."""
        return tuple(i for i in self.items if name in ("all", i.subset))

    @property
    def dealt(self) -> bool:
        """Whether no split CSV says who tests: the images were dealt by their content."""
        return not any(i.columns for i in self.items)

    @property
    def split_sha256(self) -> str:
        """Identifies who trained, validated and tested, independent of file names and order."""
        rows = sorted(f"{i.md5},{i.label},{i.subset}" for i in self.items)
        return hashlib.sha256("\n".join(rows).encode()).hexdigest()


def read_dataset(root: Path, split: Path | None = None) -> Dataset:
    """Read class folders below `root`; subsets come from `split`, else from `root/split.csv`, else from the hashes.

    Without a CSV, each class is dealt in the order of its content hashes: identical files stay together, but fields of
    one slide do not, so figures on such a split are optimistic. A row whose file is not at its place is looked for by
    its md5.

    Raises:
        UsageError: when the folder or the CSV does not exist.
        DataError: when classes, files or labels are missing, unknown, altered or split with a leak.
    """
    if not root.is_dir():
        raise UsageError(f"{root}: expected a folder with one sub-folder per class, found nothing of that name")
    if split is None and (root / "split.csv").is_file():
        split = root / "split.csv"
    items = _read_split(root, split) if split else _deal_by_hash(_read_folders(root))
    _check_classes(root, items)
    _check_leaks(items)
    return Dataset(root, tuple(items))


def fold_names(dataset: Dataset, folds: str) -> list[str]:
    """Values of the fold column that `--folds` stands for.

    Raises:
        UsageError: for an unknown kind of folds.
        DataError: when the split has no such column.
    """
    if folds not in FOLD_COLUMNS:
        raise UsageError(f"--folds {folds!r} is unknown: expected one of {', '.join(FOLD_COLUMNS)}")
    found = sorted({_fold_of(i, folds) for i in dataset.items})
    if "" in found or len(found) < 2:
        raise DataError(f"--folds {folds} needs a column {FOLD_COLUMNS[folds]!r} with at least two values in the "
                        "split CSV")
    return found


def hold_out(dataset: Dataset, folds: str, name: str) -> Dataset:
    """The same items with fold `name` as test, whole groups of the rest as validation, and the others to train."""
    rest = [i for i in dataset.items if _fold_of(i, folds) != name]
    validation = _carve_groups(rest, VALIDATION_SHARE)
    items = tuple(replace(i, subset="test" if _fold_of(i, folds) == name else
                          "val" if i.group in validation else "train") for i in dataset.items)
    return Dataset(dataset.root, items)


def cut_groups(dataset: Dataset, folds: str) -> list[str]:
    """Of each group with fields in more than one fold, two that are apart, in words.

    Where there is any, the folds leak, and every figure is optimistic.
    """
    cut: dict[str, str] = {}
    home: dict[str, Item] = {}
    for item in dataset.items:
        other = home.setdefault(item.group, item)
        places = [_fold_of(i, folds) for i in (other, item)]
        if places[0] != places[1]:
            cut.setdefault(item.group, f"{other.path} (fold {places[0]}) and {item.path} (fold {places[1]}) share "
                                       f"group {item.group}")
    return list(cut.values())


def _fold_of(item: Item, folds: str) -> str:
    if folds == "random":  # the leaky way, kept to be shown beside the others
        return str(int(item.md5, 16) % 5)
    return item.columns.get(FOLD_COLUMNS[folds], "")


def _carve_groups(items: Sequence[Item], share: float) -> set[str]:
    """Groups that hold about `share` of each class, picked in an order fixed by their hash; none is ever cut."""
    chosen: set[str] = set()
    for label in LABELS:
        sizes = Counter(i.group for i in items if i.label == label)
        wanted = share * sizes.total() - sum(sizes[group] for group in chosen)
        smallest = min(sizes.values(), default=0)
        for group in sorted(sizes.keys() - chosen, key=lambda g: hashlib.md5(g.encode()).hexdigest()):
            if wanted <= 0:
                break
            if sizes[group] <= max(wanted * 1.5, smallest):  # one huge group must not eat the training rows
                chosen.add(group)
                wanted -= sizes[group]
    return chosen


def _read_folders(root: Path) -> list[Item]:
    labelled = [(d, find_label(d.name)) for d in sorted(root.iterdir()) if d.is_dir()]
    folders = [(d, label) for d, label in labelled if label]
    if not folders:
        raise DataError(f"{root}: expected class folders named {', '.join(LABELS)}, found "
                        f"{', '.join(d.name for d, _ in labelled[:6]) or 'no folder'}")
    images = {d: find_images(d) for d, _ in folders}
    empty = [str(d) for d, _ in folders if not images[d]]
    if empty:
        raise DataError(f"{_some(empty)}: expected images of the class, found none; add some or remove the folder")
    return [Item(path, label, _md5(path)) for d, label in folders for path in images[d]]


def _deal_by_hash(items: Sequence[Item]) -> list[Item]:
    """Of each class a quarter to test and 15 % to validate, by the order of the hashes: file names have no say.

    The same file in two classes is dealt once.
    """
    subset_of: dict[str, str] = {}
    for label in LABELS:
        files = sorted({i.md5 for i in items if i.label == label} - subset_of.keys())
        test, validation = (max(1, round(share * len(files))) for share in (TEST_SHARE, VALIDATION_SHARE))
        for place, md5 in enumerate(files):
            subset_of[md5] = "test" if place < test else "val" if place < test + validation else "train"
    return [replace(i, subset=subset_of[i.md5]) for i in items]


def _read_split(root: Path, split: Path) -> list[Item]:
    rows = _read_rows(split)
    missing = [r["file"] for r in rows if not (root / r["file"]).is_file()]
    moved = {_md5(p): p for p in find_images(root)} if missing and all(r.get("md5") for r in rows) else {}
    outside = [r["file"] for r in rows if not r["file"] or ".." in Path(r["file"]).parts]
    if outside:
        raise DataError(f"{split}: expected names of files inside {root}, received {_some([repr(o) for o in outside])}")
    absent = [r["file"] for r in rows if not (root / r["file"]).is_file() and r.get("md5") not in moved]
    if absent:
        raise DataError(f"{split} names {len(absent)} files that are not in {root}: {_some(absent)}; "
                        "restore them, correct --data or remove the rows")
    return [_item(root, split, row, moved) for row in rows]


def _item(root: Path, split: Path, row: dict[str, str], moved: Mapping[str, Path]) -> Item:
    path = root / row["file"]
    if not path.is_file():
        path = moved[row["md5"]]
    md5 = _md5(path)
    if row.get("md5") and row["md5"] != md5:
        raise DataError(f"{path}: its md5 is {md5}, but {split} lists {row['md5']}; the file was changed")
    if row["split"] not in SUBSETS:
        raise DataError(f"{split}: {row['file']} is in subset {row['split']!r}, expected {', '.join(SUBSETS)}")
    label = find_label(row["label"])
    if label is None:
        raise DataError(f"{split}: {row['file']} has the unknown label {row['label']!r}, expected one of "
                        f"{', '.join(LABELS)}")
    return Item(path, label, md5, row["split"], row)


def _read_rows(split: Path) -> list[dict[str, str]]:
    if not split.is_file():
        raise UsageError(f"{split}: expected a split CSV, found nothing of that name")
    try:
        with split.open(newline="", encoding="utf-8-sig") as lines:
            rows = [{k: v or "" for k, v in row.items() if k} for row in csv.DictReader(lines)]
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{split}: expected a CSV in UTF-8, received something else ({error})") from error
    lacking = {"file", "label", "split"} - set(rows[0] if rows else ())
    if lacking:
        raise DataError(f"{split}: expected columns file, label, split; missing {', '.join(sorted(lacking))}")
    return rows


def _check_classes(root: Path, items: Sequence[Item]) -> None:
    present = {i.label for i in items}
    if len(present) < 2:
        raise DataError(f"{root}: expected images of at least two of {', '.join(LABELS)}, found "
                        f"{', '.join(present) or 'none'}; add class folders or choose another --data")


def _check_leaks(items: Sequence[Item]) -> None:
    """A file, or a group of fields, that stands in two subsets makes every figure a lie."""
    for key in ("md5", "group"):
        home: dict[str, Item] = {}
        for item in items:
            other = home.setdefault(getattr(item, key), item)
            if other.subset != item.subset:
                raise DataError(f"the split leaks: {other.path} ({other.subset}) and {item.path} ({item.subset}) "
                                f"share {key} {getattr(item, key)}; put them in one subset")


def _md5(path: Path) -> str:
    return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()


def _some(values: Sequence[str]) -> str:
    more = f" and {len(values) - _NAMED} more" if len(values) > _NAMED else ""
    return ", ".join(values[:_NAMED]) + more
