"""What docs/security.md claims of the whole code, and no other test shows."""

import re

from documents import ROOT

from vdmini_serve.contract.broker import create_celery
from vdmini_serve.contract.settings import Settings

SOURCES = ("model", "compression", "service")


def test_nothing_is_unpickled_but_tensors() -> None:
    loads = []
    for folder in SOURCES:
        for path in (ROOT / folder).rglob("*.py"):
            text = path.read_text()
            assert not re.search(r"\b(pickle|dill|joblib)\.loads?\(|allow_pickle=True|trust_remote_code=True", text), (
                path
            )
            loads += [(path.name, call) for call in re.findall(r"torch\.load\(.*\)", text)]
    assert len(loads) >= 4
    assert [load for load in loads if "weights_only=True" not in load[1]] == []


def test_messages_to_workers_carry_json_only() -> None:
    celery = create_celery(Settings())
    assert (celery.conf.accept_content, celery.conf.task_serializer) == (["json"], "json")
