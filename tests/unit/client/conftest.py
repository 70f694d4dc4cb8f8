"""A fake Sluice, a client of it, and its command line."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sluice_client import cli

from tests.unit.client.fake_sluice import TOKEN, FakeSluice
from tests.unit.client.harness import Run, Setup


@pytest.fixture
def sluice() -> Iterator[FakeSluice]:
    with FakeSluice() as fake:
        yield fake


@pytest.fixture
def setup(sluice: FakeSluice, tmp_path: Path) -> Iterator[Setup]:
    setup = Setup(sluice, tmp_path)
    yield setup
    for http in setup.open:
        http.close()


@pytest.fixture
def run(setup: Setup, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run the command; return exit code, standard output and standard error."""
    monkeypatch.setenv("SLUICE_URL", setup.sluice.url)
    monkeypatch.setenv("SLUICE_TOKEN", TOKEN)
    monkeypatch.setenv("XDG_STATE_HOME", str(setup.states))
    monkeypatch.setenv("COLUMNS", "300")
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    monkeypatch.chdir(setup.folder)

    def run(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            cli.main(arguments)
        said = capsys.readouterr()
        assert "Traceback" not in said.err
        code = ended.value.code
        assert isinstance(code, int)
        return code, said.out, said.err

    return run
