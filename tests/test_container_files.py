"""The container files agree with the program: its packages, commands and pins. No engine is needed."""

from __future__ import annotations

import json
import re
import shlex
import tomllib
from collections.abc import Iterator
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from twin.cli import Registered
from twin.config import Settings

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PINS = (ROOT / "constraints.txt").read_text().splitlines()


def dockerfile() -> list[tuple[str, str]]:
    """The instructions of the Dockerfile, in order: (instruction, what follows)."""
    text = re.sub(r"^\s*#.*\n", "", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE)
    lines = re.sub(r"\\\n\s*", " ", text).splitlines()
    return [(first, rest.strip()) for first, _, rest in (line.strip().partition(" ") for line in lines) if first]


def last_stage() -> list[tuple[str, str]]:
    instructions = dockerfile()
    start = max(i for i, (name, _) in enumerate(instructions) if name == "FROM")
    return instructions[start:]


def of_last_stage(name: str) -> str:
    return [rest for instruction, rest in last_stage() if instruction == name][-1]


def copied() -> list[str]:
    """What the builder stage copies from the project's folder."""
    copies = [shlex.split(rest) for name, rest in dockerfile() if name == "COPY" and "--from" not in rest]
    return [source.rstrip("/") for *sources, _target in copies for source in sources]


def compose() -> dict[str, Any]:
    return yaml.safe_load((ROOT / "compose.yaml").read_text())


def parse(arguments: list[str]) -> dict[str, Any]:
    """Read a command line as `twin` would, without running anything; click raises where it does not fit."""
    command: click.Command = Registered("twin")
    words = list(arguments)
    while isinstance(command, click.Group):
        name = words.pop(0)
        found = command.get_command(click.Context(command), name)
        assert found is not None, f"there is no command “{name}” in: twin {shlex.join(arguments)}"
        command = found
    return command.make_context(command.name, words).params


def composed_commands() -> Iterator[list[str]]:
    """Every `twin …` that compose.yaml starts in place of the image's own command."""
    for service in compose()["services"].values():
        for line in service.get("command", []):
            for part in re.split(r"[;&|]+", line):
                words = shlex.split(part)
                if words[:1] == ["twin"]:
                    yield words[1:]


def name_of(requirement: str) -> str:
    return re.split(r"[\[<>=!~ ;]", requirement)[0].lower().replace("_", "-")


# The image --------------------------------------------------------------------------------------------------


def test_every_package_of_the_project_is_copied_into_the_image() -> None:
    patterns = PROJECT["tool"]["setuptools"]["packages"]["find"]["include"]
    assert {p.removesuffix("*") for p in patterns} <= set(copied())


def test_everything_that_the_build_reads_is_copied_and_exists() -> None:
    project = PROJECT["project"]
    assert {"pyproject.toml", "constraints.txt", project["readme"], *project["license-files"]} <= set(copied())
    assert [name for name in copied() if not (ROOT / name).exists()] == []


def test_the_build_context_holds_what_is_copied_and_nothing_else() -> None:
    patterns = [p for p in (ROOT / ".dockerignore").read_text().splitlines() if p and not p.startswith("#")]
    assert patterns[0] == "*"
    assert {p.removeprefix("!") for p in patterns if p.startswith("!")} == set(copied())


def test_the_container_does_not_run_as_root() -> None:
    user = of_last_stage("USER").partition(":")[0]
    assert user.isdigit()
    assert int(user) > 0


def test_the_last_stage_has_no_compiler_and_no_git() -> None:
    installed = {word for name, rest in last_stage() if name == "RUN" for word in re.split(r"[\s;&]+", rest)}
    assert installed.isdisjoint({"gcc", "g++", "build-essential", "make", "git", "python3-dev", "libpq-dev"})
    assert "--from=builder" in of_last_stage("COPY")


def test_the_entry_point_is_the_installed_program_and_takes_the_default_command() -> None:
    (program,) = json.loads(of_last_stage("ENTRYPOINT"))
    assert program in PROJECT["project"]["scripts"]
    assert program in {point.name for point in entry_points(group="console_scripts")}
    options = parse(json.loads(of_last_stage("CMD")))
    assert options["host"] == "0.0.0.0"  # noqa: S104  # the container's own network
    assert str(options["port"]) == of_last_stage("EXPOSE")


def test_the_health_check_asks_a_path_that_the_server_has() -> None:
    from tiles.http.health import router

    check = of_last_stage("HEALTHCHECK")
    (url,) = re.findall(r"http://127\.0\.0\.1:(\d+)(/[a-z/]+)", check)
    assert url[0] == of_last_stage("EXPOSE")
    assert url[1] in {getattr(route, "path", "") for route in router.routes}


def test_both_stages_have_one_python_that_fits_the_project() -> None:
    # A virtual environment works only with the Python that made it.
    (image,) = {rest.partition(" ")[0] for name, rest in dockerfile() if name == "FROM"}
    major, minor = re.findall(r"\d+", image)[:2]
    least = re.findall(r"\d+", PROJECT["project"]["requires-python"])[:2]
    assert (int(major), int(minor)) >= tuple(map(int, least))


# The compose file -------------------------------------------------------------------------------------------


def test_compose_starts_only_commands_and_options_that_the_program_has() -> None:
    commands = list(composed_commands())
    assert ["db", "migrate"] in commands
    assert ["ingest", "city"] in commands
    for command in commands:
        parse(command)


@pytest.mark.parametrize("wrong", ["ingest town", "ingest city --towns 3", "serve --port x"])
def test_a_command_that_the_program_does_not_have_is_noticed(wrong: str) -> None:
    with pytest.raises((AssertionError, click.UsageError)):
        parse(wrong.split())


def test_compose_sets_only_settings_that_the_program_reads() -> None:
    settings = {f"TWIN_{name.upper()}" for name in Settings.model_fields}
    for service in compose()["services"].values():
        assert {n for n in service.get("environment", {}) if n.startswith("TWIN_")} <= settings


def test_the_database_address_names_the_compose_service_and_its_account() -> None:
    services = compose()["services"]
    database, server = services["database"]["environment"], services["server"]["environment"]
    account = f"{database['POSTGRES_USER']}@database:5432/{database['POSTGRES_DB']}"
    assert server["TWIN_DATABASE_URL"] == f"postgresql://{account}"
    assert server["PGPASSWORD"] == database["POSTGRES_PASSWORD"]
    assert services["city"]["environment"] == server


def test_the_server_waits_for_a_healthy_database_and_a_loaded_city() -> None:
    services = compose()["services"]
    conditions = {name: entry["condition"] for name, entry in services["server"]["depends_on"].items()}
    assert conditions == {"database": "service_healthy", "city": "service_completed_successfully"}
    assert services["city"]["depends_on"]["database"]["condition"] == "service_healthy"
    assert services["city"]["restart"] == "no"
    assert "--host=127.0.0.1" in services["database"]["healthcheck"]["test"]


def test_all_programs_share_the_folder_of_files_that_the_image_prepares() -> None:
    services = compose()["services"]
    assert parse(services["worker"]["command"])
    mounted = {name: services[name]["volumes"] for name in ("city", "server", "worker", "streams", "simulator")}
    (volume, _, folder) = mounted["server"][0].partition(":")
    assert all(volumes == [f"{volume}:{folder}"] for volumes in mounted.values()) and volume in compose()["volumes"]
    # Whatever the program keeps in files lies there.
    kept = {f"TWIN_{name.upper()}" for name in ("uploads", "rasters", "archives", "downloads")}
    assert {name.upper().removeprefix("TWIN_").lower() for name in kept} <= set(Settings.model_fields)
    for name in mounted:
        environment = services[name]["environment"]
        assert all(environment[setting].startswith(f"{folder}/") for setting in kept)
    assert any(f"--owner=twin --mode=0700 {folder}" in rest for name, rest in last_stage() if name == "RUN")


def test_the_broker_of_the_container_is_installed_and_reached_through_the_port_that_is_published() -> None:
    installed = {word for name, rest in last_stage() if name == "RUN" for word in re.split(r"[\s;&]+", rest)}
    assert "mosquitto" in installed
    streams = compose()["services"]["streams"]
    (port,) = streams["ports"]
    assert int(port.rpartition(":")[2]) == Settings.model_fields["mqtt_port"].default
    assert streams["environment"]["TWIN_MQTT_HOST"] == "0.0.0.0"  # noqa: S104  # the container's own network
    (_, _, folder) = streams["volumes"][0].partition(":")
    assert streams["environment"]["TWIN_HOME"].startswith(f"{folder}/")


def test_data_outlives_the_containers_and_nothing_is_open_to_other_machines() -> None:
    services = compose()["services"]
    (volume,) = services["database"]["volumes"]
    assert volume.partition(":")[0] in compose()["volumes"]
    assert "ports" not in services["database"]
    assert [p for s in services.values() for p in s.get("ports", []) if not p.startswith("127.0.0.1:")] == []


# The pins ---------------------------------------------------------------------------------------------------


def test_every_direct_dependency_is_pinned_to_one_version() -> None:
    project = PROJECT["project"]
    extras = [r for extra in project["optional-dependencies"].values() for r in extra]
    wanted = {name_of(requirement) for requirement in [*project["dependencies"], *extras]}
    pinned = {name_of(pin) for pin in PINS if re.fullmatch(r"[A-Za-z0-9_.-]+==[^=\s]+", pin)}
    assert wanted - pinned == set()


def test_the_pins_hold_versions_only() -> None:
    lines = [line for line in PINS if line and not line.startswith("#")]
    assert [line for line in lines if not re.fullmatch(r"[A-Za-z0-9_.-]+==[A-Za-z0-9_.+!-]+", line)] == []


def test_the_lock_file_of_javascript_tools_holds_hashes_and_names_no_registry() -> None:
    packages = json.loads((ROOT / "package-lock.json").read_text())["packages"]
    assert packages.pop("")["devDependencies"]
    assert all("resolved" not in package and package["integrity"] for package in packages.values())
    assert json.loads((ROOT / "package.json").read_text())["private"] is True
