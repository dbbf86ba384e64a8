"""aider's SEARCH/REPLACE format: its prompt, its parser, its way to apply a block, and no more.

aider's coder is built on a private temporary folder of empty files, while the texts themselves stay
in memory; it is never told to run. So there is no chat, no git, no shell, no network, no file
outside the texts given, and no price map: `send_completion`, and with it litellm, is not reached.
"""

from __future__ import annotations

import os
import posixpath
import tempfile
import warnings
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from ai_scientist.coder.blocks import find_places, nearest_lines
from ai_scientist.errors import ReplyError
from ai_scientist.records import Message

Patch = tuple[str, str, str]
"""File, SEARCH lines, REPLACE lines."""
_ALIAS = ".~text"
"""Ends the name under which aider applies a block. Under the real one it would drop a first line
that ends in the file's name, such as a comment or a usage line."""


class SearchReplace:
    """The files of one step, and aider's format over them; use it in a `with` block.

    `texts` holds the present content of each file, with LF for line ends.
    """

    def __init__(self, files: Mapping[str, str]) -> None:
        self.texts = {name: text.replace("\r\n", "\n") for name, text in files.items()}
        self._folder = tempfile.TemporaryDirectory(prefix="ai_scientist_edit_")
        self._root = Path(self._folder.name).resolve()
        for name in files:
            path = self._root / name
            if not path.resolve().is_relative_to(self._root) or posixpath.normpath(name) != name:
                raise ValueError(f"{name!r} is no plain relative path")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
            path.with_name(path.name + _ALIAS).touch()
        self._coder = _build_coder(self._root, self.texts)

    def __enter__(self) -> SearchReplace:
        return self

    def __exit__(self, *exception: object) -> None:
        self._folder.cleanup()

    def prompt(self, instruction: str) -> list[Message]:
        """Return aider's own conversation: its rules and examples, the files, the instruction."""
        self._coder.cur_messages = [{"role": "user", "content": instruction}]
        turns = self._coder.format_messages().all_messages()
        return [Message(role=turn["role"], content=turn["content"]) for turn in turns]

    def parse(self, reply: str) -> list[Patch]:
        """Return the blocks of a reply. Raises ReplyError, worded for the model."""
        self._coder.partial_response_content = reply.replace("\r\n", "\n")
        try:
            return [(path, search, new) for path, search, new in self._coder.get_edits()]
        except ValueError as error:
            words = str(error).rpartition("\n^^^ ")[2]
            raise ReplyError(f"The reply breaks the SEARCH/REPLACE format: {words}") from None

    def find_file(self, path: str) -> str | None:
        """Return the file a block names, or None when it is none of the files given."""
        name = posixpath.normpath(path.strip())
        return name if name in self.texts else None

    def explain_refusal(self, patch: Patch) -> str:
        """Say why aider must not apply a block that it would apply wrongly; "" when it may."""
        path, search, _ = patch
        name = self.find_file(path)
        if name is None:
            allowed = ", ".join(f"`{one}`" for one in sorted(self.texts))
            return f"`{path}` is not a file you may edit or create. You may edit: {allowed}."
        if not search.strip():
            if not self.texts[name].strip():
                return ""
            return (
                f"A block for {name} has an empty SEARCH section, but {name} is not empty. Give "
                "the lines that the new ones replace or follow."
            )
        places = find_places(self.texts[name], search)
        if len(places) > 1:
            numbers = ", ".join(str(place) for place in places[:8])
            shown = search.strip("\n").split("\n")[0].strip()
            return (
                f"The SEARCH lines of a block for {name} (`{shown}` …) stand there "
                f"{len(places)} times, at lines {numbers}. Add lines around them until they are "
                "found once."
            )
        return ""

    def apply(self, patch: Patch) -> bool:
        """Apply one block that is not refused; False, and nothing changed, when nothing matches."""
        name = self.find_file(patch[0]) or patch[0]
        try:
            self._apply([(name, patch[1], patch[2])])
        except ValueError:
            return False
        return True

    def explain_misses(self, patches: Iterable[Patch]) -> str:
        """Return aider's own words on blocks that match nothing, with the nearest real lines."""
        named = [(self.find_file(path) or path, search, new) for path, search, new in patches]
        before, words = dict(self.texts), ""
        try:
            self._apply(named)
        except ValueError as error:
            words = str(error).replace(_ALIAS, "").partition("\n# The other ")[0].strip()
        finally:
            self.texts.update(before)
        if "Did you mean" in words:
            return words
        # aider shows lines only when most of a block's lines are exactly right.
        for name, search, _ in named:
            near = nearest_lines(self.texts.get(name, ""), search)
            if near:
                words += f"\n\nThe nearest lines of {name} are:\n\n```\n{near}\n```"
        return words

    def _apply(self, patches: list[Patch]) -> None:
        aliased = [(name + _ALIAS, _pad(search), _pad(new)) for name, search, new in patches]
        # With no file in its chat, aider cannot try a failing block on the other files.
        chat, self._coder.abs_fnames = self._coder.abs_fnames, set()
        try:
            self._coder.apply_edits(aliased)
        finally:
            self._coder.abs_fnames = chat


def _pad(text: str) -> str:
    """Add the blank line at the end of a section that aider is going to drop."""
    return text + "\n" if text == "\n" or text.endswith("\n\n") else text


def warm_up() -> None:
    """Import aider now, about a second, so that the first step need not wait for it."""
    _import_aider()


def _build_coder(root: Path, texts: dict[str, str]) -> Any:
    """Return aider's diff coder over `texts`, with everything but prompt and parser taken out."""
    coder_class, io_class, settings_class = _import_aider()
    coder = coder_class.create(
        main_model=_build_settings(settings_class),
        edit_format="diff",
        io=_build_io(io_class, root, texts),
        fnames=[str(root / name) for name in texts],
        analytics=_NoAnalytics(),
        use_git=False,
        auto_commits=False,
        dirty_commits=False,
        stream=False,
        map_tokens=0,
        auto_lint=False,
        suggest_shell_commands=False,
        detect_urls=False,
        chat_language="English",
    )
    coder.root = str(root)
    # aider keeps its files in a set, whose order differs between processes, and tells the model the
    # host and the date: prompts would never be the same twice.
    coder.get_abs_fnames_content = lambda: [
        (str(root / name), text if text.endswith("\n") else text + "\n")
        for name, text in sorted(texts.items())
    ]
    coder.get_platform_info = lambda: ""
    return coder


class _NoAnalytics:
    """Stands where aider keeps an identity of the user in the home folder."""

    def event(self, *args: object, **facts: object) -> None:
        """Send nothing."""


def _build_settings(settings_class: Any) -> Any:
    """Return a model as far as prompts depend on it: no name look-up, no price map, no litellm."""
    settings = settings_class(
        name="ours", edit_format="diff", examples_as_sys_msg=True, reminder="none"
    )
    settings.info = {}
    settings.weak_model = settings
    settings.max_chat_history_tokens = 1024
    settings.token_count = lambda messages: 0  # our own client counts and caps
    return settings


def _build_io(io_class: Any, root: Path, texts: dict[str, str]) -> Any:
    """Return an IO that prints nothing, asks nothing, and keeps the files in memory."""

    def name_of(path: str) -> str:
        return Path(os.path.relpath(path, root)).as_posix().removesuffix(_ALIAS)

    def write(path: str, content: str, *rest: object) -> None:
        if name_of(path) not in texts:
            raise AssertionError(f"aider wrote {path!r}, which is none of the files")
        texts[name_of(path)] = content

    class Silent(io_class):  # type: ignore[misc]
        def tool_output(self, *args: object, **facts: object) -> None: ...

        tool_error = tool_warning = append_chat_history = tool_output

    io = Silent(pretty=False, fancy_input=False, yes=False)
    io.read_text = lambda path, silent=False: texts.get(name_of(path))
    io.write_text = write
    io.confirm_ask = io.offer_url = lambda *args, **facts: False
    return io


@cache
def _import_aider() -> tuple[Any, Any, Any]:
    """Return aider's Coder, InputOutput and ModelSettings, imported without a word."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from aider.coders import Coder
        from aider.io import InputOutput
        from aider.models import ModelSettings
    return Coder, InputOutput, ModelSettings
