"""Commands of the core: `twin db` and `twin key`."""

from __future__ import annotations

import getpass

import click

from twin.access.keys import new_key, revoke_key
from twin.cli import console, print_json, say
from twin.config import load_settings
from twin.db.cluster import server_binaries
from twin.db.database import cluster_of, last_opened, open_database
from twin.db.tables import PrincipalRole
from twin.errors import SetupProblem
from twin.facts import print_facts
from twin.text import Text

as_json = click.option("--json", "as_json", is_flag=True, help=say("Answer for machines.", "Kết quả cho máy đọc."))


@click.group(help=say("The database: start, stop, look, bring up to date.", "Cơ sở dữ liệu: bật, tắt, xem, cập nhật."))
def db() -> None:
    """Group of database commands."""


def _require_private() -> None:
    if load_settings().database_url:
        raise SetupProblem(
            Text(
                en="TWIN_DATABASE_URL names a server of its own; start and stop it there.",
                vi="TWIN_DATABASE_URL trỏ tới một máy chủ khác; hãy bật, tắt ở đó.",
            )
        )


@db.command(
    help=say(
        "Start the private PostGIS cluster and leave it running.\n\nExample: twin db up",
        "Bật cụm PostGIS riêng và để nó chạy.\n\nVí dụ: twin db up",
    )
)
def up() -> None:
    """Start the private cluster."""
    _require_private()
    cluster = cluster_of(load_settings())
    started = cluster.start()
    console().print(
        say("The database runs.", "Cơ sở dữ liệu đang chạy.")
        if started
        else say("The database was running already.", "Cơ sở dữ liệu đã chạy sẵn.")
    )


@db.command(
    help=say(
        "Stop the private PostGIS cluster.\n\nExample: twin db down",
        "Tắt cụm PostGIS riêng.\n\nVí dụ: twin db down",
    )
)
def down() -> None:
    """Stop the private cluster."""
    _require_private()
    cluster_of(load_settings()).stop()
    console().print(say("The database is stopped.", "Cơ sở dữ liệu đã tắt."))


@db.command(
    help=say(
        "Show where the database is and whether it runs.\n\nExample: twin db status --json",
        "Cho biết cơ sở dữ liệu ở đâu và có chạy không.\n\nVí dụ: twin db status --json",
    )
)
@as_json
def status(as_json: bool) -> None:
    """Show the database's state."""
    settings = load_settings()
    if settings.database_url:
        database = open_database(settings)
        facts = {"private": False, "url": str(database)}
    else:
        cluster = cluster_of(settings)
        facts = {
            "private": True,
            "state": cluster.status(),
            "data": str(cluster.data),
            "database": settings.database or last_opened(settings),
            "programs": str(server_binaries()),
        }
    if as_json:
        print_json(facts)
    else:
        print_facts(facts, settings.profile.time_zone)


@db.command(
    "migrate",
    help=say(
        "Bring the database to this program's tables.\n\nExample: twin db migrate",
        "Cập nhật bảng của cơ sở dữ liệu theo chương trình.\n\nVí dụ: twin db migrate",
    ),
)
def migrate_command() -> None:
    """Run the migrations."""
    from twin.db.migrate import migrate  # alembic, which no other command needs

    changed = migrate(open_database(load_settings()))
    console().print(
        say("The database is brought up to date.", "Đã cập nhật cơ sở dữ liệu.")
        if changed
        else say("The database is up to date.", "Cơ sở dữ liệu đã cập nhật sẵn.")
    )


@click.group(help=say("API keys of the agencies.", "Khóa API của các đơn vị."))
def key() -> None:
    """Group of key commands."""


@key.command(
    help=say(
        "Make a key for an account of an agency. It is shown once and kept nowhere.\n\n"
        'Example: twin key new --agency transport --name "signal centre"',
        "Tạo khóa cho tài khoản của một đơn vị. Khóa chỉ hiện một lần và không được lưu lại.\n\n"
        'Ví dụ: twin key new --agency transport --name "trung tâm đèn tín hiệu"',
    )
)
@click.option("--agency", required=True, help=say("The agency's short name.", "Tên ngắn của đơn vị."))
@click.option("--name", required=True, help=say("Who will use it.", "Ai sẽ dùng khóa."))
@click.option(
    "--role", type=click.Choice([r.value for r in PrincipalRole]), default="reader", show_default=True,
    help=say("What it may do.", "Được phép làm gì."),
)  # fmt: skip
@as_json
def new(agency: str, name: str, role: str, as_json: bool) -> None:
    """Make an API key."""
    with open_database(load_settings()).session() as session:
        token = new_key(session, agency, name, PrincipalRole(role), actor=getpass.getuser())
    if as_json:
        print_json({"key": token, "agency": agency, "name": name, "role": role})
    else:
        click.echo(token)
        console().print(
            say(
                "Send it as the header “Authorization: Bearer …”. It cannot be shown again.",
                "Gửi trong tiêu đề “Authorization: Bearer …”. Khóa không thể hiện lại.",
            )
        )


@key.command(
    help=say(
        "End a key at once.\n\nExample: twin key revoke 3f9a0c21d7be",
        "Thu hồi khóa ngay.\n\nVí dụ: twin key revoke 3f9a0c21d7be",
    )
)
@click.argument("key_id")
def revoke(key_id: str) -> None:
    """Revoke an API key."""
    with open_database(load_settings()).session() as session:
        revoke_key(session, key_id, actor=getpass.getuser())
    console().print(say("The key is revoked.", "Đã thu hồi khóa."))
