"""The queue on disk: one folder per idea, every change of state one atomic file.

    RUNS_DIR/.queue/ENTRY/   entry.json   what was asked for, never changed
                             state.json   where it stands; not there: queued, never started
                             lease.N      who works on it (leases.py)
                             inbox/       words for who works on it: cancel
                             idea.json  output.log
    RUNS_DIR/.queue/paused   there: nothing new is started

state.json is written only under the entry's lease. There is no index: 10,000 entries are read in
well under two seconds, and what is not there cannot disagree with the files.
"""

from __future__ import annotations

import contextlib
import difflib
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ai_scientist.errors import FolderBusy, InputError
from ai_scientist.machine.leases import EXPIRY_S, Lease, look_at_lease, take_lease
from ai_scientist.queue.entries import (
    Added,
    Entry,
    Item,
    QueueState,
    disk_trouble,
    read_item,
    sync_file_system,
    to_json,
    utc_now,
    write_plainly,
)
from ai_scientist.queue.likeness import Likeness, sketch
from ai_scientist.records import Idea
from ai_scientist.run_folder.journal import sync_folder, write_atomically


@dataclass
class Claim:
    """The right to change one entry's state, until it is released."""

    item: Item
    lease: Lease

    def write(self, **changes: Any) -> Item:
        """Change the state on disk. Raises SetupError in plain words when the disk refuses."""
        state = replace(self.item.state, **changes)
        with disk_trouble(self.item.folder, "the state is as it was before"):
            write_atomically(self.item.folder / "state.json", to_json(state))
        self.item = replace(self.item, state=state)
        return self.item


@dataclass(frozen=True)
class Queue:
    """All entries of one runs folder."""

    runs_dir: Path
    expiry_s: float = field(default=EXPIRY_S, kw_only=True)

    @property
    def folder(self) -> Path:
        """Folder of the entries."""
        return self.runs_dir / ".queue"

    # --- reading ---------------------------------------------------------------------------------

    def items(self) -> list[Item]:
        """Return every entry: highest priority first, then the order of adding."""
        found = []
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            found = [item for path in os.scandir(self.folder) if (item := read_item(path.path))]
        return sorted(found, key=lambda item: (-item.state.priority, item.entry.added_at, item.id))

    def find(self, name: str) -> Item:
        """Return the entry called `name`. Raises InputError with near names."""
        item = read_item(self.folder / name) if name and "/" not in name else None
        if item is not None:
            return item
        known = [one.id for one in self.items()]
        near = difflib.get_close_matches(name, known, n=3, cutoff=0.4) or known[:5]
        raise InputError(
            f"there is no idea `{name}` in the queue of {self.runs_dir}",
            hint=f"it holds: {', '.join(near) or 'nothing'}",
        )

    def is_lost(self, item: Item) -> bool:
        """Tell whether it says running while nobody works on it any more."""
        if item.state.state is not QueueState.RUNNING:
            return False
        newest = look_at_lease(item.folder, expiry_s=self.expiry_s)
        return newest is None or not newest.alive

    @property
    def paused(self) -> bool:
        """Whether nothing new is started."""
        return (self.folder / "paused").exists()

    @property
    def stopped(self) -> bool:
        """Whether what runs is to be ended too."""
        try:
            return "now" in (self.folder / "paused").read_text()
        except OSError:
            return False

    # --- adding ----------------------------------------------------------------------------------

    def add(
        self,
        ideas: Sequence[Idea],
        *,
        priority: int = 0,
        after: Sequence[str] = (),
        options: Sequence[str] = (),
        force: bool = False,
        again: bool = False,
    ) -> list[Added]:
        """Add ideas, all of them durably before this returns, and say what became of each.

        An idea that is there already, word for word, keeps its entry; one of the same name with
        other words, or of nearly the same words, is refused unless `force`; `again` adds it in any
        case. Raises InputError for an unknown `after`, SetupError when the disk refuses.
        """
        present = self.items()
        for name in after:
            if all(item.id != name for item in present):
                self.find(name)
        like = Likeness((item.id, item.entry.idea, item.entry.sketch) for item in present)
        now = datetime.now(UTC).isoformat(timespec="microseconds")
        fresh: list[Entry] = []
        answers = []
        for number, idea in enumerate(ideas):
            answer = _judge_name(idea, like, force=force, again=again)
            marks = () if answer else sketch(idea.given)
            answer = answer or _judge_words(idea, marks, like, free=force or again)
            answers.append(answer)
            if not answer.new or answer.entry is None:
                continue
            like.learn(answer.entry, idea.given, marks)
            fresh.append(
                Entry(
                    id=answer.entry,
                    idea=idea.given,
                    after=tuple(after),
                    priority=priority,
                    options=tuple(options),
                    sketch=marks,
                    added_at=f"{now}#{number:06d}",
                )
            )
        self._store(fresh)
        return answers

    def _store(self, entries: Sequence[Entry]) -> None:
        """Write the folders aside, wait for the disk once, and rename each into its place."""
        if not entries:
            return
        aside = self.folder / f".adding.{os.getpid()}"
        try:
            with disk_trouble(self.runs_dir, "nothing was added"):
                aside.mkdir(parents=True, exist_ok=True)
                for entry in entries:
                    folder = f"{aside}/{entry.id}"
                    os.mkdir(folder)  # noqa: PTH102  # ten thousand of these
                    write_plainly(f"{folder}/entry.json", to_json(entry))
                sync_file_system(aside)
                for entry in entries:
                    _rename(aside / entry.id, self.folder / entry.id)
                sync_folder(self.folder)
        finally:
            shutil.rmtree(aside, ignore_errors=True)

    # --- changing --------------------------------------------------------------------------------

    def claim(self, name: str) -> Claim | None:
        """Take the lease of an entry and read its state afresh; None when somebody has it."""
        folder = self.folder / name
        try:
            with disk_trouble(folder, "nothing was started"):
                lease = take_lease(folder, expiry_s=self.expiry_s)
        except FileNotFoundError:
            return None
        item = read_item(folder) if lease else None
        if lease is None or item is None:
            return None
        return Claim(item=item, lease=lease)

    @contextlib.contextmanager
    def changing(self, name: str) -> Iterator[Claim]:
        """Hold an entry that nobody works on. Raises FolderBusy when somebody does."""
        self.find(name)
        claim = self.claim(name)
        if claim is None:
            raise FolderBusy(
                f"the idea `{name}` is being worked on",
                hint=f"first: ai_scientist queue cancel {name}",
            )
        try:
            yield claim
        finally:
            claim.lease.release()

    def cancel(self, name: str) -> str:
        """Cancel an idea, running or not; return in words what happens. It can be retried."""
        item = self.find(name)
        if item.state.state in (QueueState.DONE, QueueState.CANCELLED):
            raise InputError(f"the idea `{name}` is {item.state.state} already")
        try:
            with self.changing(name) as claim:
                claim.write(state=QueueState.CANCELLED, reason="cancelled", finished_at=utc_now())
        except FolderBusy:
            write_atomically(item.folder / "inbox" / "cancel", utc_now() + "\n")
            return f"{name}: its worker is told to stop it"
        return f"{name}: cancelled"

    def retry(self, name: str, *, options: Sequence[str] | None = None) -> Item:
        """Queue an idea again that ended; it goes on in its run folder, paying nothing twice.

        Raises InputError when it has not ended or is done, FolderBusy when it runs.
        """
        with self.changing(name) as claim:
            state = claim.item.state
            if state.state is QueueState.DONE:
                raise InputError(
                    f"the idea `{name}` is done", hint=f"repeat it with: queue add {name} --again"
                )
            (claim.item.folder / "inbox" / "cancel").unlink(missing_ok=True)
            chosen = state.options if options is None else tuple(options)
            return claim.write(
                state=QueueState.QUEUED, reason="", lost=0, options=chosen, finished_at=None
            )

    def prioritise(self, name: str, priority: int) -> Item:
        """Set the priority; higher goes first. Raises FolderBusy when it runs."""
        with self.changing(name) as claim:
            return claim.write(priority=priority)

    def pause(self, *, now: bool = False) -> None:
        """Start nothing new; with `now`, also end what runs, so that it goes on after `resume`."""
        with disk_trouble(self.runs_dir, "the queue is not paused"):
            write_atomically(self.folder / "paused", f"{utc_now()}{' now' if now else ''}\n")

    def resume(self) -> None:
        """Go on after a pause."""
        (self.folder / "paused").unlink(missing_ok=True)


# --- inside --------------------------------------------------------------------------------------


def _judge_name(idea: Idea, like: Likeness, *, force: bool, again: bool) -> Added | None:
    """Decide on an idea whose name is there already; None when it is not, or does not matter."""
    same = like.of_name(idea.name)
    if not same or again:
        return None
    name, content = same[-1]
    if dict(content) == dict(idea.given):
        return Added(idea=idea.name, entry=name)
    if force:
        return None
    return Added(
        idea=idea.name,
        entry=None,
        problem=f"idea `{idea.name}`: another idea of this name is in the queue",
        hint="give it another name, or add it all the same with --force",
    )


def _judge_words(idea: Idea, marks: tuple[int, ...], like: Likeness, *, free: bool) -> Added:
    """Decide on an idea by its words; `free`: whatever they are."""
    near = None if free else like.nearest(idea.given, marks)
    if near is None:
        return Added(idea=idea.name, entry=like.free_name(idea.name), new=True)
    return Added(
        idea=idea.name,
        entry=None,
        problem=f"idea `{idea.name}`: nearly the words of `{near}`, which is in the queue",
        hint="add it all the same with --force",
    )


def _rename(old: Path, new: Path) -> None:
    try:
        old.rename(new)
    except OSError as error:
        if not new.is_dir():
            raise
        other = read_item(new)
        ours = read_item(old)
        if other and ours and dict(other.entry.idea) == dict(ours.entry.idea):
            return  # the same command was given twice at the same moment
        raise FolderBusy(
            f"the idea `{new.name}` was added by somebody else just now: {error.strerror}",
            hint="add it again",
        ) from None
