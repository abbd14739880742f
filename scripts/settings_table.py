"""Write docs/settings.md: every setting of the service, from where it is defined.

python scripts/settings_table.py [--check]
"""

import argparse
import sys
from pathlib import Path
from typing import Any

from pydantic import SecretStr
from pydantic.fields import FieldInfo

from vdmini_serve.contract.settings import Settings

TARGET = Path(__file__).resolve().parents[1] / "docs" / "settings.md"
HEAD = """# Settings of the service

API and worker read these from the environment when they start. A wrong one is named and nothing is started.
`scripts/settings_table.py` writes this page; change the descriptions in `service/vdmini_serve/contract/settings.py`.

| variable | default | what it is |
|---|---|---|
"""


def page() -> str:
    """The whole page."""
    return HEAD + "".join(_row(name, field) for name, field in Settings.model_fields.items())


def _row(name: str, field: FieldInfo) -> str:
    description = (field.description or "").replace("|", "\\|")
    return f"| `VDMINI_{name.upper()}` | {_default(field.get_default(call_default_factory=True))} | {description} |\n"


def _default(value: Any) -> str:
    if value is None or value == ():
        return ""
    return f"`{value.get_secret_value() if isinstance(value, SecretStr) else value}`"


def main() -> int:
    """Write the page, or compare with it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="only say whether the page is what it should be")
    if parser.parse_args().check:
        return 0 if TARGET.read_text() == page() else 1
    TARGET.write_text(page())
    return 0


if __name__ == "__main__":
    sys.exit(main())
