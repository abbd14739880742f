"""Programs that deployments are tested with; Debian has them all (`scripts/debian_packages.sh`, as root)."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def program() -> Callable[[str], Path]:
    """Where a program is; the test is skipped without it, which CI counts as a failure."""

    def find(name: str) -> Path:
        found = shutil.which(name)
        if found is None:
            pytest.skip(
                f"{name} is not installed; `scripts/debian_packages.sh` installs what deployments are tested with"
            )
        return Path(found)

    return find
