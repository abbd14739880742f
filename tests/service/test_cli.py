"""The command line refuses what cannot work, in one line and before anything is started."""

import subprocess
import sys
from pathlib import Path

import pytest

from vdmini_serve.cli import main


@pytest.mark.parametrize("port", ["0", "65536", "99999", "-1"])
@pytest.mark.parametrize("command", ["up", "api"])
def test_a_port_that_does_not_exist_is_refused(command: str, port: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([command, "--port", port])
    assert ended.value.code == 2
    assert f"{port} is no port; give 1 to 65535" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "value", "complaint"),
    [
        ("VDMINI_BROKER_URL", "here:6379", "VDMINI_BROKER_URL: Value error, a Redis URL starts with redis://"),
        ("VDMINI_JOBS_URL", "http://:hunter2@here/1", "this one starts with http://"),
        ("VDMINI_REQUESTS_WITHOUT_KEY", "often", "VDMINI_REQUESTS_WITHOUT_KEY: String should match pattern"),
        ("VDMINI_LEASE_SECONDS", "-1", "VDMINI_LEASE_SECONDS: Input should be greater than 0"),
    ],
)
def test_a_wrong_setting_is_named_without_its_secret(
    name: str, value: str, complaint: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(name, value)
    assert main(["api"]) == 1
    printed = capsys.readouterr().err
    assert complaint in printed
    assert "hunter2" not in printed


@pytest.mark.parametrize(
    ("switches", "complaint"),
    [
        ('{"fuse_blocks": true}', "'fuse_blocks': Extra inputs are not permitted, got True; switches are"),
        ('{"attention": "fast"}', "'attention': Input should be 'auto', 'flash'"),
    ],
)
def test_a_wrong_switch_of_the_engine_is_named_before_anything_is_loaded(
    switches: str, complaint: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("REMAP_SIGTERM", "")
    monkeypatch.setenv("VDMINI_RUNTIME", switches)
    assert main(["worker"]) == 1
    assert complaint in capsys.readouterr().err


def test_the_table_of_settings_is_as_they_are_defined() -> None:
    script = Path(__file__).resolve().parents[2] / "scripts" / "settings_table.py"
    assert subprocess.run([sys.executable, str(script), "--check"], check=False).returncode == 0
