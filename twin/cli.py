"""The `twin` command: joins the commands that the packages register, speaks the reader's language, ends honestly."""

from __future__ import annotations

import gc
import json
import sys
import tempfile
import traceback
from importlib.metadata import EntryPoint, entry_points
from typing import Any, NoReturn

import click
from rich.console import Console
from rich.text import Text as Styled

from twin import __version__
from twin.click_translations import teach_click
from twin.errors import UNFORESEEN, TwinError
from twin.logs import set_up_logging
from twin.text import LANGUAGES, Language, Text, language_of_environment, printable, set_language

GROUP = "twin.commands"
PROGRAM = "twin"


def say(en: str, vi: str) -> str:
    """Return a text in the language of this run, for help and prompts."""
    return str(Text(en=en, vi=vi))


def console() -> Console:
    """Where progress and messages go: standard error, so that standard output holds answers only."""
    # Lines are left to the terminal to break: a command in them can then be copied whole.
    return Console(stderr=True, highlight=False, soft_wrap=True)


def plain(text: object, style: str = "") -> Styled:
    """Return a text for a table as it is: it is no markup, and cannot steer the terminal."""
    return Styled(printable(text), style)


def print_json(value: Any) -> None:
    """Write an answer for machines."""
    click.echo(json.dumps(value, ensure_ascii=False, indent=2, default=str))


def all_loaded() -> None:
    """Say that what a command needs is loaded: it stays, and is not looked through for garbage again and again."""
    gc.freeze()
    gc.enable()


class Registered(click.Group):
    """A group with commands of its own and others that are entry points, loaded when they are needed.

    The program's are registered under `twin.commands`, those of its group `layer` under `twin.commands.layer`.
    """

    def _points(self) -> dict[str, EntryPoint]:
        group = GROUP if self.name == PROGRAM else f"{GROUP}.{self.name}"
        return {point.name: point for point in entry_points(group=group)}

    def list_commands(self, context: click.Context) -> list[str]:
        """Name all commands."""
        return sorted({*super().list_commands(context), *self._points()})

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        """Find a command of the group's own, or load one."""
        point = self._points().get(name)
        return point.load() if point else super().get_command(context, name)

    def resolve_command(
        self, context: click.Context, arguments: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find what is to be run; then all is loaded, and garbage is worth looking for."""
        found = super().resolve_command(context, arguments)
        all_loaded()
        return found


def _program() -> click.Group:
    return Registered(
        name=PROGRAM,
        help=say(
            "A city's digital twin: one shared map of all agencies' layers.\n\n"
            "To see a city: twin demo\n\nTo publish a file: twin ingest --help",
            "Bản sao số của thành phố: một bản đồ chung cho dữ liệu của mọi đơn vị.\n\n"
            "Để xem thử một thành phố: twin demo\n\nĐể công bố một tệp: twin ingest --help",
        ),
        no_args_is_help=True,
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
        params=[
            click.Option(
                ["--lang"],
                type=click.Choice(LANGUAGES),
                expose_value=False,
                help=say("Language of messages (else as LANG says).", "Ngôn ngữ thông báo (mặc định theo LANG)."),
            ),
            click.version_option(__version__, prog_name="twin")(lambda: None).__click_params__[0],  # type: ignore[attr-defined]
        ],
    )


def language_of_arguments(arguments: list[str]) -> Language:
    """Return the language of a run: `--lang` if it is given, else the environment's.

    It is read before the commands are loaded, because their help is in that language.
    """
    for i, argument in enumerate(arguments):
        if argument.startswith("--lang"):
            value = argument.partition("=")[2] or (arguments[i + 1] if i + 1 < len(arguments) else "")
            if value in LANGUAGES:
                return value
    return language_of_environment()


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run the program; an error that a person can act on is one sentence and an exit code."""
    given = sys.argv[1:] if arguments is None else arguments
    # Loading makes hundreds of thousands of objects that stay: looking for garbage among them takes a fifth of it.
    gc.disable()
    set_language(language_of_arguments(given))
    teach_click()
    set_up_logging()
    try:
        result = _program().main(args=given, prog_name="twin", standalone_mode=False)
        sys.exit(result if isinstance(result, int) else 0)
    except click.exceptions.Abort:
        console().print(say("Stopped.", "Đã dừng."))
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except TwinError as error:
        _complain(error)
    except Exception as error:
        # Loads the database's libraries, which --version and most helps do without.
        from twin.db.database import explain

        if sentence := explain(error):
            _complain(sentence)
        _confess(error)
    finally:
        gc.enable()


def _confess(error: Exception) -> NoReturn:
    """Tell of a fault of the program itself in one sentence; the details go to a file for those who mend it."""
    with tempfile.NamedTemporaryFile(
        "w", prefix="twin-fault-", suffix=".txt", encoding="utf-8", errors="replace", delete=False
    ) as details:
        details.write(f"twin {__version__}\n{' '.join(map(printable, sys.argv))}\n\n")
        details.write("".join(traceback.format_exception(error)))
    message = Text(
        en="this program has a fault ({kind}) and stopped; nothing was published. Please report it with {file}",
        vi="chương trình gặp lỗi ({kind}) và đã dừng; chưa công bố gì. Hãy báo lỗi kèm tệp {file}",
    )
    click.secho(f"twin: {message.format(kind=type(error).__name__, file=details.name)}", fg="red", err=True)
    sys.exit(UNFORESEEN)


def _complain(error: TwinError) -> NoReturn:
    # The sentence may quote a file; its own line ends stay.
    message = "\n".join(map(printable, str(error).splitlines()))
    click.secho(f"twin: {message}", fg="red", err=True)
    sys.exit(error.exit_code)
