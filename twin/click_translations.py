"""click's own words in Vietnamese: headings of help, options that all commands have, and what is wrong with a command.

click asks gettext for its words. Compiled catalogues would have to be built at installation, for some forty sentences;
so its modules are given a table to look in instead. A sentence that a new version of click changed stays English.
"""

from __future__ import annotations

import click.core
import click.decorators
import click.exceptions
import click.formatting
import click.parser
import click.types

from twin.text import current_language

VIETNAMESE = {
    "Usage:": "Cách dùng:",
    "Options": "Tùy chọn",
    "Positional arguments": "Tham số",
    "Commands": "Lệnh",
    "Show the version and exit.": "Hiện phiên bản chương trình rồi thoát.",
    "Show this message and exit.": "Hiện hướng dẫn này rồi thoát.",
    "%(prog)s, version %(version)s": "%(prog)s, phiên bản %(version)s",
    "required": "bắt buộc",
    "default: {default}": "mặc định: {default}",
    "env var: {var}": "biến môi trường: {var}",
    "Aborted!": "Đã dừng!",
    "Missing command.": "Thiếu tên lệnh.",
    "Error: {message}": "Lỗi: {message}",
    "Try '{command} {option}' for help.": "Xem hướng dẫn: {command} {option}",
    "Invalid value: {message}": "Giá trị không hợp lệ: {message}",
    "Invalid value for {param_hint}: {message}": "Giá trị không hợp lệ cho {param_hint}: {message}",
    "Missing argument": "Thiếu tham số",
    "Missing option": "Thiếu tùy chọn",
    "Missing parameter": "Thiếu tham số",
    "No such option {name!r}.": "Không có tùy chọn {name!r}.",
    "No such option: {name}": "Không có tùy chọn {name}",
    "No such command {name!r}.": "Không có lệnh {name!r}.",
    "unknown error": "lỗi không rõ",
    "Could not open file {filename!r}: {message}": "Không mở được tệp {filename!r}: {message}",
    "Did you mean {possibility}?": "Có phải bạn muốn {possibility}?",
    "(Did you mean one of: {possibilities}?)": "(Có phải bạn muốn một trong: {possibilities}?)",
    "(Possible options: {possibilities})": "(Có thể là: {possibilities})",
    "Got unexpected extra argument ({args})": "Thừa tham số ({args})",
    "Got unexpected extra arguments ({args})": "Thừa các tham số ({args})",
    "Choose from:\n\t{choices}": "Chọn một trong:\n\t{choices}",
    "{value!r} is not a valid {number_type}.": "{value!r} không phải {number_type}.",
    "{value} is not in the range {range}.": "{value} nằm ngoài khoảng {range}.",
    "{value!r} is not {choice}.": "{value!r} không phải {choice}.",
    "{value!r} is not one of {choices}.": "{value!r} không thuộc: {choices}.",
    "Option {name!r} does not take a value.": "Tùy chọn {name!r} không nhận giá trị.",
    "Option {name!r} requires an argument.": "Tùy chọn {name!r} cần một giá trị.",
    "Option {name!r} requires {nargs} arguments.": "Tùy chọn {name!r} cần {nargs} giá trị.",
    "file": "tệp",
    "directory": "thư mục",
    "path": "tệp",
    "File": "Tệp",
    "Directory": "Thư mục",
    "Path": "Tệp",
    "{name} {filename!r} does not exist.": "{name} {filename!r} không tồn tại.",
    "{name} {filename!r} is a file.": "{name} {filename!r} là tệp, cần thư mục.",
    "{name} {filename!r} is a directory.": "{name} {filename!r} là thư mục, cần tệp.",
    "{name} {filename!r} is not readable.": "{name} {filename!r} không đọc được.",
    "{name} {filename!r} is not writable.": "{name} {filename!r} không ghi được.",
}


def word(text: str) -> str:
    """One of click's sentences in the reader's language."""
    return VIETNAMESE.get(text, text) if current_language() == "vi" else text


def words(one: str, many: str, number: int) -> str:
    """Return a sentence about one or several things."""
    return word(one if number == 1 else many)


def teach_click() -> None:
    """Let click speak the reader's language from now on."""
    for module in (
        click.core, click.decorators, click.exceptions, click.formatting, click.parser, click.types,
    ):  # fmt: skip
        for name, translated in (("_", word), ("ngettext", words)):
            if hasattr(module, name):
                setattr(module, name, translated)
