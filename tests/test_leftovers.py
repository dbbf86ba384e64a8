"""What a run leaves on disk: taken, left or removed without fear."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from ai_scientist.execution.local import LocalExecutor
from ai_scientist.protocols import Sandbox
from ai_scientist.records import ExitCause
from ai_scientist.sandbox.leftovers import CollectionLimits, collect, remove_tree
from tests.tier_runs import BY_TIER, request_for


def test_only_plain_files_are_taken(tmp_path: Path) -> None:
    """Links, pipes, hard links, giants, git's files and odd names stay where they are."""
    out = tmp_path / "staging/source/run_1"
    (out / "seed_0").mkdir(parents=True)
    (tmp_path / "secret").write_text("secret")
    (out / "final_info.json").write_text("{}")
    (out / "seed_0/final_info.json").write_text("{}")
    (out / "locked").mkdir()
    (out / "locked/inside.txt").write_text("x")
    (out / "locked").chmod(0)
    (out / "link").symlink_to(tmp_path / "secret")
    (out / "folder_link").symlink_to(tmp_path)
    os.mkfifo(out / "pipe")
    os.link(tmp_path / "secret", out / "hard")
    (out / "two\nlines").write_text("x")
    (out / "\u202egnp.exe").write_text("x")
    (out / ".gitattributes").write_text("x")
    with (out / "sparse").open("wb") as file:
        file.truncate(3_000_000_000_000)
    deep = out
    for _ in range(20):
        deep = deep / "d"
        deep.mkdir()
    taken = collect(tmp_path / "staging", "run_1", tmp_path / "run_1")
    names = sorted(
        str(path.relative_to(tmp_path / "run_1"))
        for path in (tmp_path / "run_1").rglob("*")
        if path.is_file() or path.is_symlink()
    )
    assert names == ["final_info.json", "locked/inside.txt", "seed_0/final_info.json"]
    assert taken.files == 3
    assert len(taken.left_out) == 9, taken.left_out
    assert "'link': a link" in taken.left_out
    assert "'two\\nlines': name" in taken.left_out
    assert "'sparse': too much for one run" in taken.left_out
    assert (tmp_path / "secret").read_text() == "secret"


@BY_TIER
def test_what_a_run_leaves_can_be_read_without_fear(sandbox: Sandbox, tmp_path: Path) -> None:
    """After a run its folder holds no link, nothing that blocks a reader, nothing of git's."""
    (tmp_path / "secret").write_text("secret")
    code = f"""
        import os
        os.symlink({str(tmp_path / "secret")!r}, "run_1/final_info.json")
        os.symlink({str(tmp_path)!r}, "run_1/seed_0")
        os.symlink("/etc", "run_1/odd\\nname")
        os.mkfifo("run_1/pipe")
        open("run_1/one", "w").close()
        os.link("run_1/one", "run_1/two")
        open("run_1/plain", "w").close()
        os.makedirs("run_1/.git/hooks")
        os.makedirs("run_1/a\\tb")
        os.symlink("/etc", "run_1/a\\tb/etc")
    """
    done = LocalExecutor(sandbox).run(request_for(tmp_path / "staging", code))
    assert done.cause is ExitCause.EXIT, done.stderr.read_text()
    out = tmp_path / "staging/source/run_1"
    assert [path.name for path in out.iterdir()] == ["plain"]
    assert (tmp_path / "secret").read_text() == "secret"


def test_collecting_twice_takes_the_rest(tmp_path: Path) -> None:
    """A launcher killed while it collects can collect again, and nothing is lost."""
    out = tmp_path / "staging/source/run_1"
    out.mkdir(parents=True)
    (out / "a.json").write_text("a")
    partial = tmp_path / "run_1.partial"
    partial.mkdir()
    (partial / "b.json").write_text("b")
    collect(tmp_path / "staging", "run_1", tmp_path / "run_1")
    assert sorted(path.name for path in (tmp_path / "run_1").iterdir()) == ["a.json", "b.json"]
    (out / "c.json").write_text("c")
    collect(tmp_path / "staging", "run_1", tmp_path / "run_1")
    assert (tmp_path / "run_1/c.json").is_file()
    limits = CollectionLimits(files=0)
    (out / "d.json").write_text("d")
    taken = collect(tmp_path / "staging", "run_1", tmp_path / "run_1", limits=limits)
    assert taken.left_out == ("'d.json': too much for one run",)


def test_a_tree_of_any_depth_is_removed(tmp_path: Path) -> None:
    """Folders too deep for a path, or closed, are removed; what links point at is not."""
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "file").write_text("x")
    top = tmp_path / "top"
    top.mkdir()
    (top / "link").symlink_to(kept)
    script = "import os\nfor _ in range(1500):\n    os.mkdir('d' * 20); os.chdir('d' * 20)\n"
    subprocess.run([sys.executable, "-c", script], cwd=top, check=True)
    (top / "closed").mkdir(mode=0)
    remove_tree(top)
    remove_tree(tmp_path / "link_to_nothing")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["kept"]
    assert (kept / "file").is_file()
