"""Which bundles may judge fields on this device: intact, signed by whom it trusts, and not past their time."""

from datetime import date
from pathlib import Path

from alledge.bundle import Bundle
from alledge.config import BundleSettings
from alledge.manifest import Manifest


def open_bundle(path: Path, settings: BundleSettings, installed: Manifest | None = None) -> Bundle:
    """Open a bundle that this device accepts; until then no model is loaded.

    Raises:
        UsageError: when there is no such file.
        BundleRefused: when it is damaged, expired, for another board, older than the `installed` one that it is to
            replace, or not signed by a key this device trusts (if it was told any).
    """
    bundle = Bundle.open(path, settings.trusted_keys)
    bundle.check_board(settings.board)
    bundle.check_current(date.today(), installed)
    return bundle
