from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from ai_scientist.run_folder.journal import FolderJournal
from ai_scientist.run_folder.workspace import RunFolder
from ai_scientist.steps.keeping import Keep, keep_trained

OWN = {"run_0/sae", "run_2/seed_0/sae", "run_2/seed_1/sae"}
OTHERS = {
    "run_1/sae",
    "run_2/arm_uniform/sae",
    "run_2/confirmation/seed_1000/sae",
    "attempts/run_3.execution_4/sae",
}


@pytest.mark.parametrize(
    ("keep", "kept"), [("best", OWN), ("all", OWN | OTHERS), ("none", set[str]())]
)
def test_what_is_kept(tmp_path: Path, keep: Keep, kept: set[str]) -> None:
    """Best is what finalist and baseline trained; no link is followed, and nothing is redone."""
    for name in OWN | OTHERS:
        (tmp_path / name / "seed_0_k_2").mkdir(parents=True)
        (tmp_path / name / "seed_0_k_2" / "weights").write_text("w" * 10)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "weights").write_text("not ours")
    (tmp_path / "run_1" / "logs").mkdir()
    (tmp_path / "run_1" / "logs" / "sae").symlink_to(tmp_path / "elsewhere")
    folder = RunFolder(tmp_path)
    with closing(FolderJournal(folder.events)) as journal:
        done = keep_trained(folder, journal, keep, {"run_0", "run_2"})
        again = keep_trained(folder, journal, "none", set())
    assert again == done
    assert set(done["kept"]) == kept
    assert done["freed_bytes"] == 10 * (7 - len(kept))
    there = {name for name in OWN | OTHERS if (tmp_path / name).exists()}
    assert there == kept
    assert (tmp_path / "elsewhere" / "weights").is_file()
