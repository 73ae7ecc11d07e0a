"""The private cluster, migrations and settings: what goes wrong is one clear sentence."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections import namedtuple
from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sa
from alembic import command

from tests.conftest import HOME, ROOT, free_port
from twin.config import Settings, find_home, load_settings
from twin.db import cluster as cluster_module
from twin.db.cluster import PrivateCluster
from twin.db.database import Database, explain, libpq, open_database
from twin.db.migrate import alembic_config, migrate
from twin.errors import SetupProblem, Unavailable
from twin.text import speaking


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the program as a person would."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("TWIN_", "LC_", "LANG"))}
    return subprocess.run(
        [sys.executable, "-m", "twin", *arguments], env=clean | {"TWIN_HOME": str(HOME)} | environment,
        capture_output=True, text=True, timeout=120, cwd=ROOT,
    )  # fmt: skip


def test_migrating_twice_changes_nothing(database: Database) -> None:
    assert migrate(database) is False


def test_a_database_of_a_newer_program_is_refused_in_one_sentence(database: Database) -> None:
    with database.engine("owner").begin() as connection:
        connection.execute(sa.text("UPDATE twin.alembic_version SET version_num = '9999'"))
    with pytest.raises(SetupProblem, match="9999.*Update this program"):
        migrate(database)


def test_the_migrations_make_exactly_the_tables_of_the_code(database: Database) -> None:
    with database.engine("owner").connect() as connection:
        command.check(alembic_config(connection))


def test_the_migrations_can_be_taken_back(database: Database) -> None:
    with database.engine("owner").connect() as connection:
        command.downgrade(alembic_config(connection), "base")
        connection.commit()
        left = connection.execute(sa.text("SELECT tablename FROM pg_tables WHERE schemaname = 'twin'")).scalars().all()
    assert left == ["alembic_version"]
    assert migrate(database) is True


def test_a_cluster_is_made_started_found_again_and_stopped(tmp_path: Path) -> None:
    home = HOME.parent / "made"
    shutil.rmtree(home, ignore_errors=True)
    made = PrivateCluster(home)
    try:
        assert made.status() == "absent"
        assert made.start() is True
        assert PrivateCluster(home).start() is False
        with psycopg.connect(libpq(made.url("postgres"))) as connection:
            assert connection.execute("SHOW listen_addresses").fetchone() == ("",)
            assert connection.execute("SHOW server_encoding").fetchone() == ("UTF8",)
        assert made.socket.stat().st_mode & 0o077 == 0
    finally:
        made.stop()
    assert made.status() == "stopped"
    shutil.rmtree(made.data)


def test_a_first_start_that_broke_off_is_made_anew(tmp_path: Path) -> None:
    home = HOME.parent / "broken"
    broken = PrivateCluster(home)
    shutil.rmtree(home, ignore_errors=True)
    (broken.data / "half").mkdir(parents=True)
    try:
        assert broken.start() is True
    finally:
        broken.stop()
        shutil.rmtree(broken.data)


def test_a_full_disk_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(cluster_module.shutil, "disk_usage", lambda _: usage(10**9, 10**9, 5_000_000))
    with pytest.raises(SetupProblem, match="full: 5 MB are free, 400 MB are needed.*TWIN_HOME"):
        PrivateCluster(tmp_path / "full").start()


def test_a_disk_that_fills_up_later_is_one_sentence_too() -> None:
    sentence = explain(psycopg.errors.DiskFull("could not extend file"))
    assert isinstance(sentence, Unavailable)
    with speaking("vi"):
        assert "đã đầy" in str(sentence)


def test_missing_postgis_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster_module, "_share_folders", lambda _: iter(()))
    with pytest.raises(SetupProblem, match="PostGIS is missing.*apt-get install postgresql-postgis"):
        cluster_module.server_binaries()


def test_a_folder_that_is_a_file_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = run("db", "up", TWIN_HOME=str(tmp_path / "file" / "home"))
    assert done.returncode == 3
    assert done.stderr.count("\n") == 1 and "cannot be used" in done.stderr


def test_no_permission_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Root may write everywhere, so the refusal is the system's in name only.
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(cluster_module.Path, "mkdir", refuse)
    with pytest.raises(SetupProblem, match="No permission to write in .*locked.*TWIN_HOME"):
        PrivateCluster(tmp_path / "locked").start()


def test_a_port_in_use_is_one_sentence_before_anything_starts() -> None:
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = run("demo", "--port", str(port))
    assert done.returncode == 3
    assert f"The port {port} on 127.0.0.1 is in use" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_server_that_is_not_there_is_one_sentence_without_the_password() -> None:
    url = f"postgresql://somebody:hunter2@127.0.0.1:{free_port()}/city"
    for arguments in (("db", "migrate"), ("layer", "list")):
        done = run(*arguments, TWIN_DATABASE_URL=url)
        assert done.returncode == 3
        assert "cannot be reached" in done.stderr and "Traceback" not in done.stderr
        assert "hunter2" not in done.stderr


@pytest.mark.parametrize("url", ["mysql://x/y", "nonsense", "postgresql//x"])
def test_an_address_that_is_none_is_refused_with_an_example(url: str) -> None:
    done = run("db", "migrate", TWIN_DATABASE_URL=url)
    assert done.returncode == 3
    assert "postgresql://user" in done.stderr


def test_another_server_is_used_through_its_address(database: Database, cluster: PrivateCluster) -> None:
    url = libpq(database.url)
    assert run("db", "migrate", TWIN_DATABASE_URL=url).returncode == 0
    other = open_database(Settings(database_url=url))
    with other.session() as session:
        assert session.scalar(sa.text("SELECT current_user")) == "twin_writer"
    other.writer.dispose()


def test_a_user_without_rights_to_make_roles_still_gets_a_city(cluster: PrivateCluster, database: Database) -> None:
    name = str(database.url.database)
    with psycopg.connect(libpq(cluster.url("postgres")), autocommit=True) as connection:
        connection.execute(f'DROP DATABASE "{name}"')
        connection.execute(f'CREATE ROLE "plain_{name}" LOGIN')
        connection.execute(f'CREATE DATABASE "{name}" OWNER "plain_{name}"')
    url = libpq(cluster.url(name, f"plain_{name}"))
    try:
        refused = run("db", "migrate", TWIN_DATABASE_URL=url)
        assert refused.returncode == 3 and "CREATE EXTENSION postgis" in refused.stderr
        with psycopg.connect(libpq(cluster.url(name)), autocommit=True) as connection:
            connection.execute("CREATE EXTENSION postgis")
        assert run("db", "migrate", TWIN_DATABASE_URL=url).returncode == 0
        assert run("layer", "list", TWIN_DATABASE_URL=url).returncode == 0
    finally:
        with psycopg.connect(libpq(cluster.url("postgres")), autocommit=True) as connection:
            connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
            connection.execute(f'DROP ROLE "plain_{name}"')
            connection.execute(f'CREATE DATABASE "{name}"')


def test_a_setting_that_does_not_fit_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TWIN_PORT", "many")
    with pytest.raises(SetupProblem, match="TWIN_PORT.*many"):
        load_settings()


def test_an_unknown_city_profile_is_named() -> None:
    with pytest.raises(SetupProblem, match="atlantis"):
        _ = Settings(city="atlantis").profile


def test_the_home_is_found_from_a_folder_below(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".twin").mkdir()
    (tmp_path / "deep" / "er").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "deep" / "er")
    assert find_home() == tmp_path / ".twin"


@pytest.mark.parametrize("command_", ["demo", "serve", "db", "key", "layer", "ingest"])
def test_every_command_has_help_in_both_languages(command_: str) -> None:
    english, vietnamese = run(command_, "--help"), run("--lang", "vi", command_, "--help")
    assert english.returncode == vietnamese.returncode == 0
    assert english.stdout != vietnamese.stdout
    assert run(command_, "--help", LANG="vi_VN.UTF-8").stdout == vietnamese.stdout


def test_a_mistyped_command_is_answered_with_a_hint_and_code_two() -> None:
    done = run("laier")
    assert done.returncode == 2
    assert "laier" in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize(("arguments", "expected"), [
    (("ingest", "chek"), "Không có lệnh 'chek'"),
    (("ingest", "publish"), "Thiếu tham số 'TỆP'"),
    (("ingest", "check", "nowhere.shp", "--theme", "roads"), "Tệp 'nowhere.shp' không tồn tại"),
    (("layer", "show"), "Thiếu tham số"),
])  # fmt: skip
def test_what_is_wrong_with_a_command_is_said_in_vietnamese(arguments: tuple[str, ...], expected: str) -> None:
    done = run("--lang", "vi", *arguments)
    assert (
        done.returncode == 2 and expected in done.stderr and "Cách dùng:" in done.stderr and "Error" not in done.stderr
    )


def test_help_is_in_one_language_throughout() -> None:
    shown = run("--lang", "vi", "ingest", "publish", "--help").stdout
    assert "Tùy chọn:" in shown and "[bắt buộc]" in shown and "[mặc định: replace]" in shown
    assert "Options" not in shown and "Show this message" not in shown


def test_a_database_without_tables_says_what_to_do(cluster: PrivateCluster) -> None:
    done = run("layer", "list", TWIN_HOME=str(cluster.home), TWIN_DATABASE="never_made")
    assert done.returncode == 3 and "twin db migrate" in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "wrong", [{"kind": "lunch"}, {"kind": "key", "layer": "a.b"}, {"kind": "connected", "version": 1}]
)
def test_an_event_of_a_kind_that_the_table_does_not_have_or_with_another_s_fields_is_an_error(wrong: dict) -> None:
    from twin.events import Event

    with pytest.raises(ValueError, match="no event"):
        Event(**wrong)
