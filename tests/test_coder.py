"""What a coder makes of a model's replies."""

from __future__ import annotations

from typing import Any

import pytest

from ai_scientist.coder.aider_coder import AiderCoder
from ai_scientist.coder.blocks import read_reply, restore_line_ends
from ai_scientist.coder.definitions import replace_definitions
from ai_scientist.errors import BudgetSpent, ReplyError
from ai_scientist.records import Edit, EditStatus, ModelReply
from ai_scientist.testing import ScriptedModel, make_reply
from tests.coder_replies import (
    CODE,
    FILES,
    GOOD,
    MENDED,
    MISSING,
    PLOT,
    PLOTTED,
    PROMPTS,
    SECOND,
    block,
    whole,
)

UNDERLINE = block("RATE = 0.1\n", 'RATE = 0.1\nTITLE = """Results\n=======\nend"""\n')
WHOLE = whole("def train(rate):\n    return 7.0 / rate\n")


def edit(*replies: str | ModelReply | Exception, **more: Any) -> tuple[Edit, ScriptedModel]:
    """Let the coder work through a script of replies on FILES."""
    model = ScriptedModel(replies)
    calls = more.pop("max_calls", 3)
    result = AiderCoder(model, PROMPTS, max_calls=calls).edit(
        step="run_1/edit_1",
        purpose="edit",
        instruction=more.pop("instruction", "Change the loss."),
        files=more.pop("files", FILES),
        **more,
    )
    return result, model


def to(text: str) -> dict[str, str]:
    """Return the change of experiment.py to a content that holds `text`."""
    return {"experiment.py": text}


RATE_1 = block("RATE = 0.1\n", "RATE = 1\n")
SAME = block("RATE = 0.1\n", "RATE = 0.1\n")
OUTDENTED = block("loss = 1.0 / rate\n", "loss = 3.0 / rate\n")
A, F, N = EditStatus.APPLIED, EditStatus.FINISHED, EditStatus.NOT_APPLIED
CUT = make_reply(GOOD, finish_reason="length")
TABLE: dict[str, tuple[list[str | ModelReply], EditStatus, dict[str, str], int]] = {
    # name: replies, status, {changed file: a line it now holds}, calls
    "good": ([GOOD], A, to("loss = 2.0 / rate"), 1),
    "two blocks": ([GOOD + SECOND], A, to("round(loss, 5)"), 1),
    "two files": ([GOOD + PLOTTED], A, {"experiment.py": "2.0", "plot.py": "import math"}, 1),
    "never matches": ([MISSING, MISSING, MISSING], N, {}, 3),
    "matches at last": ([MISSING, MENDED], A, to("return 2 * loss"), 2),
    "fails, then gives up in prose": ([MISSING, "Sorry.", "Sorry."], N, {}, 3),
    "fails, then says it is done": ([MISSING, "ALL_COMPLETED", "ALL_COMPLETED"], N, {}, 3),
    "half applies for ever": ([GOOD + MISSING, MISSING, MISSING], N, {}, 3),
    "half applies, then prose": ([GOOD + MISSING, "done", "done"], N, {}, 3),
    "half, then only what failed": ([GOOD + MISSING, MENDED], A, to("2 * loss"), 2),
    "half, then all again": ([GOOD + MISSING, GOOD + MENDED], A, to("return 2 * loss"), 2),
    "half, then the good half": ([GOOD + MISSING, GOOD, GOOD + MENDED], A, to("2 * loss"), 3),
    "half, then a function": ([GOOD + MISSING, MISSING, WHOLE], A, to("7.0 / rate"), 3),
    "other file": ([block("x = 1\n", "x = 2\n", "other.py")] * 3, N, {}, 3),
    "other file beside a good one": ([GOOD + block("", "x\n", "o.py"), GOOD], A, to("2.0"), 2),
    "new file": ([block("", "print(1)\n", "brand_new.py")] * 3, N, {}, 3),
    "path out of the folder": ([block("", "print(1)\n", "../../evil.py")] * 3, N, {}, 3),
    "absolute path": ([block("", "print(1)\n", "/var/evil.py")] * 3, N, {}, 3),
    "dotted path": ([RATE_1.replace("exp", "./exp", 1)], A, to("RATE = 1"), 1),
    "misspelt file": ([GOOD.replace("experiment.py", "experimnt.py")], A, to("2.0"), 1),
    "another file is mentioned": (["See notes.txt.\n" + GOOD], A, to("2.0"), 1),
    "cut off": ([CUT, GOOD], A, to("2.0"), 2),
    "cut off for ever": ([CUT, CUT, CUT], N, {}, 3),
    "cut off inside, said to be whole": ([GOOD[:-20], GOOD], A, to("2.0"), 2),
    "no edit": (["Nothing to do."] * 3, N, {}, 3),
    "empty": (["", GOOD], A, to("2.0"), 2),
    "completed": (["All is said.\n\nALL_COMPLETED\n"], F, {}, 1),
    "completed in bold": (["**ALL_COMPLETED**"], F, {}, 1),
    "completed only quoted": (["I do not say ALL_COMPLETED yet.", GOOD], A, to("2.0"), 2),
    "completed in a fence": (["```\nALL_COMPLETED\n```", GOOD], A, to("2.0"), 2),
    "completed beside an edit": ([GOOD + "\nALL_COMPLETED\n"], A, to("2.0"), 1),
    "underline in a block": ([UNDERLINE, GOOD], A, to("2.0"), 2),
    "shell block": ([GOOD + "```bash\ntouch SHELL_RAN\n```\n"], A, to("2.0"), 1),
    "nothing changes": ([SAME, GOOD], A, to("2.0"), 2),
    "empty search on a full file": ([block("", "x = 1\n"), GOOD], A, to("2.0"), 2),
    "windows line ends in the reply": ([GOOD.replace("\n", "\r\n")], A, to("2.0"), 1),
    "indentation left out": ([OUTDENTED], A, to("    loss = 3.0"), 1),
    "no divider": ([GOOD.replace("=======\n", ""), GOOD], A, to("2.0"), 2),
    "whole functions in a file not given": ([MISSING, MISSING, whole("x = 1\n", "o.py")], N, {}, 3),
    "whole functions that are no Python": ([MISSING, MISSING, whole("def f(:\n")], N, {}, 3),
    "blocks where definitions were due": ([MISSING, MISSING, GOOD], A, to("2.0"), 3),
}  # fmt: skip


@pytest.mark.parametrize("name", TABLE)
def test_what_really_happened(name: str) -> None:
    """The edit says by content what came of a script of replies; a failed step leaves nothing."""
    replies, status, changed, calls = TABLE[name]
    given = dict(FILES)
    result, model = edit(*replies, files=given)
    assert (result.status, result.calls, len(model.asked)) == (status, calls, calls)
    assert set(result.files) == set(changed)
    for file, text in changed.items():
        assert text in result.files[file]
    assert given == FILES
    assert bool(result.problem) == (status is N)
    assert not model.replies or status is F


def problem_after(*replies: str | ModelReply) -> str:
    """Return what the model is told after the replies."""
    _, model = edit(*replies, *["…"] * (3 - len(replies)))
    return model.asked[len(replies)].messages[-1].content


def test_a_miss_shows_the_nearest_lines() -> None:
    """The retry quotes the failing block, the nearest real lines, and counts what was applied."""
    told = problem_after(GOOD + MISSING)
    assert "SearchReplaceNoExactMatch" in told
    assert "loss = 1.0 / momentum" in told
    assert "def train(rate):" in told, "the nearest real lines"
    assert "1 other block was applied. Do not send it again" in told


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        ("I think so.", ["no SEARCH/REPLACE block", "`experiment.py`, `plot.py`"]),
        (block("", "x\n", "../../evil.py"), ["`../../evil.py` is not a file you may edit"]),
        (block("", "x\n", "notes.txt"), ["`notes.txt` is not a file", "`plot.py`"]),
        (block("", "x = 1\n"), ["empty SEARCH", "experiment.py is not empty"]),
        (UNDERLINE, ["second line of 5 to 9 `=`"]),
        (GOOD[:-20], ["does not end in a line `>>>>>>> REPLACE`"]),
        (GOOD.replace("=======\n", ""), ["no dividing line"]),
        (GOOD.replace("2.0", "2.0 # \x0c"), ["control character"]),
        (block("RATE = 0.1\n", "RATE = 0.1\n"), ["change nothing"]),
    ],
)
def test_the_model_is_told_why(reply: str, words: list[str]) -> None:
    """Each way to fail has its own sentence, with the file and the remedy."""
    told = problem_after(reply)
    for word in words:
        assert word in told


def test_a_cut_off_reply_is_asked_for_shorter() -> None:
    """A reply that hit the length limit is never applied, not even a whole block of it."""
    assert "shorter edit" in problem_after(CUT)


def test_an_ambiguous_search_is_refused_with_its_places() -> None:
    """SEARCH lines that stand twice in the file are refused; aider alone edits the first."""
    files = {"experiment.py": "def a():\n    x = 1\n\n\ndef b():\n    x = 1\n"}
    replies = [block("x = 1\n", "x = 2\n"), block("def b():\n    x = 1\n", "def b():\n    x = 2\n")]
    result, model = edit(*replies, files=files)
    assert result.files == {"experiment.py": "def a():\n    x = 1\n\n\ndef b():\n    x = 2\n"}
    assert "2 times, at lines 2, 6" in model.asked[1].messages[-1].content


def test_the_conversation() -> None:
    """The prompt is aider's with our rules last; retries follow; the last request starts anew."""
    _, model = edit(MISSING, MISSING, "…", instruction="Set {rate} to 1%.", reminders="REMEMBER ME")
    first, second, third = (asked.messages for asked in model.asked)
    assert [m.role for m in first] == ["system", "user", "assistant", "user"]
    assert "*SEARCH/REPLACE block* Rules" in first[0].content
    assert first[0].content.endswith("REMEMBER ME")
    assert CODE in first[1].content
    assert PLOT in first[1].content
    assert first[3].content == "Set {rate} to 1%."
    assert second[: len(first)] == first
    assert [m.role for m in second[len(first) :]] == ["assistant", "user"]
    assert [m.role for m in third] == ["system", "user"]
    assert third[0].content.endswith("REMEMBER ME")
    for part in (CODE, "Set {rate} to 1%.", "failed to match", "# file: NAME"):
        assert part in third[1].content
    for asked in model.asked:
        assert (asked.purpose, asked.step) == ("edit", "run_1/edit_1")


def test_prose_and_control_lines() -> None:
    """Prose is the reply without blocks and control lines; the first reply's prose is kept."""
    first = f"The loss fell.\n\n{MISSING}\nSMOKE-INVARIANT: only the plot differs\n\nNext: more.\n"
    result, _ = edit(first, "Corrected.\n" + MENDED)
    assert result.prose == "The loss fell.\n\nNext: more."
    assert result.smoke_invariant == "only the plot differs"
    reading = read_reply("Why:\n```\nsome output\nALL_COMPLETED\n```\n" + GOOD)
    assert reading.prose == "Why:\n```\nsome output\nALL_COMPLETED\n```"
    assert not reading.finished
    finished, _ = edit("It is done.\nALL_COMPLETED")
    assert finished.prose == "It is done."
    by_definition, _ = edit(MISSING, MISSING, "So:\n" + WHOLE)
    assert by_definition.prose == "So:"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (CODE.replace("\n", "\r\n"), CODE.replace("1.0", "2.0").replace("\n", "\r\n")),
        (CODE.rstrip("\n"), CODE.replace("1.0", "2.0").rstrip("\n")),
        ("# ÄÖ 日本 🐍\u2028\n" + CODE, "# ÄÖ 日本 🐍\u2028\n" + CODE.replace("1.0", "2.0")),
        ("# ````` and ```\n```\n" + CODE, "# ````` and ```\n```\n" + CODE.replace("1.0", "2.0")),
        ("a\t= 1\x0c\n" + CODE, "a\t= 1\x0c\n" + CODE.replace("1.0", "2.0")),
        ("#\r\n" + CODE, "#\r\n" + CODE.replace("1.0", "2.0")),
        ("# \ud800\n" + CODE, "# \ud800\n" + CODE.replace("1.0", "2.0")),
    ],
    ids=["crlf", "no final newline", "unicode", "fences", "tabs", "mixed", "half a surrogate"],
)
def test_the_rest_of_a_file_stays_as_it_is(before: str, after: str) -> None:
    """Line ends, a missing final newline, tabs and any character survive an edit elsewhere."""
    result, _ = edit(GOOD, files={"experiment.py": before})
    assert result.files == {"experiment.py": after}


@pytest.mark.parametrize(
    ("search", "replace"),
    [
        ("    return loss\n\n\n", "    return loss\n"),
        ("    return loss\n", "    return loss\n\n"),
        ("RATE = 0.1\n", "# python experiment.py\nRATE = 0.1\n"),
        ("RATE = 0.1\n", "# a\n\n# b\n"),
    ],
)
def test_a_block_is_taken_to_the_letter(search: str, replace: str) -> None:
    """Blank lines at a section's end, and a first line that ends in the file's name, count."""
    result, _ = edit(block(search, replace))
    assert result.files == {"experiment.py": CODE.replace(search, replace)}


def test_mixed_line_ends() -> None:
    """In a file of mixed line ends, the unchanged head and tail keep theirs."""
    assert restore_line_ends("a\r\nb\nc\r\n", "a\nB\nc\n") == "a\r\nB\r\nc\r\n"
    assert restore_line_ends("a\r\nb\nc", "a\nb\nc\nd") == "a\r\nb\nc\nd"


def test_a_large_file() -> None:
    """A megabyte of code is edited, and a miss in it explained, within seconds."""
    large = CODE + "".join(f"value_{i} = {i}  # a line of the table\n" for i in range(30_000))
    result, _ = edit(MISSING, GOOD, files={"experiment.py": large})
    assert result.files["experiment.py"] == large.replace("1.0", "2.0", 1)


def test_errors_of_the_model_pass_through() -> None:
    """A spent budget is the loop's to handle; the step makes nothing of it."""
    with pytest.raises(BudgetSpent):
        edit(MISSING, BudgetSpent("spent", hint="more"))


# --- whole definitions ----------------------------------------------------------------------------


def test_definitions_keep_decorators_and_comments() -> None:
    """Whole definitions take the place of their namesakes; the rest of the file stays."""
    before = '''"""Doc."""
from __future__ import annotations
import os

A = 1  # one

# about f
@cached
def f():
    return A


class C:
    x = 1


if __name__ == "__main__":
    f()
'''
    code = (
        "import math\nimport os\n\nA = 2\n\ndef helper():\n    return 3\n\n"
        "def f():\n    # new\n    return helper()\n\n@final\nclass C:\n    x = 2\n\nB: int = 5\n"
    )
    after = replace_definitions(before, code, file="e.py")
    assert "# about f\n@cached\ndef f():\n    # new\n    return helper()\n" in after
    assert after.index("def helper") < after.index("# about f")
    assert "import os\nimport math\n" in after
    assert after.count("import os") == 1
    assert "A = 2\n" in after
    assert "@final\nclass C:\n    x = 2\n" in after
    assert after.index("class C") < after.index("B: int = 5") < after.index("if __name__")
    assert after.endswith('if __name__ == "__main__":\n    f()\n')


@pytest.mark.parametrize(
    ("content", "code", "words"),
    [
        ("def f(): pass\ndef f(): pass\n", "def f(): return 1\n", "more than once .* 1, 2"),
        ("a = 1; b = 2\n", "a = 3\n", "Line 1 of e.py holds more than `a`"),
        ("x = 1\n", "print(1)\nfor i in y: pass\n", "neither a definition nor an import"),
        ("x = 1\n", "'just a text'\n", "holds no definition"),
        ("x = (\n", "x = 1\n", "as it is is not valid Python"),
        ("x = 1\n", "x = (\n", "your block .* is not valid Python at line 1"),
    ],
)
def test_definitions_that_cannot_be_placed(content: str, code: str, words: str) -> None:
    """What has no clear place is refused in words for the model."""
    with pytest.raises(ReplyError, match=words):
        replace_definitions(content, code, file="e.py")
