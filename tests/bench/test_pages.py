"""Tables in documents: what was measured comes to its place, and is never lost or typed."""

import json
import os

import pytest

from scripts.bench import facts, pages, run

LONELY = "before\n<!-- table: a -->\nold\n<!-- end -->\nafter\n"


def table(name, rows=(("x", "1"),), title=None, notes=()):
    return {"name": name, "title": title or f"title of {name}", "command": f"make {name}",
            "columns": ["what", "value"], "rows": [list(r) for r in rows], "notes": list(notes)}


def test_a_table_as_markdown():
    made = pages.markdown(table("t", [["a|b", "1,200"], ["c\nd", "-"]], notes=["first", "second"]))
    assert made.splitlines() == [
        "**title of t**", "", "| what | value |", "| --- | ---: |", "| a\\|b | 1,200 |",
        "| c d | - |", "", "- Made by `make t`.", "- first", "- second"]


@pytest.mark.parametrize("cell, rule", [("1.5", "---:"), (12345, "---:"), ("words", "---"),
                                        ("-", "---:"), ("-1.5", "---:"), ("- 2", "---")])
def test_figures_stand_at_the_right(cell, rule):
    assert pages.markdown(table("t", [["x", cell]])).splitlines()[3] == f"| --- | {rule} |"


@pytest.mark.parametrize("bad", [
    {"name": "t"}, [], {**table("t"), "more": 1}, table("t", [["one"]]),
    table("t", [["one", "two", "three"]])])
def test_what_is_no_table_is_refused(bad):
    with pytest.raises(pages.BadTable, match="file"):
        pages.check(bad, "file")


def test_fill_changes_only_what_is_between_the_markers():
    filled = pages.fill(LONELY, {"a": "new"})
    assert filled == LONELY.replace("old", "new")
    assert pages.fill(filled, {"a": "new"}) == filled
    assert pages.fill(filled, {}) == LONELY.replace("old", pages.NOT_MEASURED)


@pytest.mark.parametrize("text", [
    "<!-- table: a -->\n",
    "<!-- table: a -->\n<!-- table: b -->\n<!-- end -->\n",
    "<!-- table: a --> <!-- end -->\n"])
def test_broken_markers_are_refused(text):
    with pytest.raises(pages.BadTable):
        pages.fill(text, {"a": "x", "b": "y"})


NAMED = {"a", "part", "others"}


@pytest.mark.parametrize("parts, places", [
    ({"part": ["a"]}, {"a": ["a"], "part": []}),
    ({"part": []}, {}),
    ({"part": ["a", "b", "c"]}, {"a": ["a"], "part": ["b", "c"]}),
    ({"else": ["b"], "part": ["a"]}, {"a": ["a"], "part": [], "others": ["b"]}),
    ({"part": ["a", "a"]}, {"a": ["a"], "part": ["a"]}),
    ({"part": ["part", "b"]}, {"part": ["part", "b"]}),
    ({"else": ["a"], "part": ["part"]}, {"a": ["a"], "part": ["part"]}),
])
def test_every_table_has_a_place(parts, places):
    made = pages.contents({part: [table(n) for n in names] for part, names in parts.items()},
                          NAMED)
    assert {place: [line[11:-2] for line in text.splitlines() if line.startswith("**title of")]
            for place, text in made.items()} == places


def test_a_table_without_a_place_is_an_error():
    with pytest.raises(pages.BadTable, match="others"):
        pages.contents({"part": [table("b")]}, {"a"})


def test_the_documents_have_a_place_for_each_part():
    named = set()
    for page in pages.PAGES:
        with open(os.path.join(run.ROOT, page), encoding="utf-8") as f:
            text = f.read()
        assert pages.fill(text, {}).count(pages.NOT_MEASURED) == len(pages.names_in(text)) > 0
        named |= set(pages.names_in(text))
    assert named >= {"machine", "goals", "others", "start"} | set(run.SCRIPTS)


def test_from_files_to_documents(tmp_path):
    """All of it, with files of each part but one, and a case that nobody knows."""
    store = run.Store(str(tmp_path / "bench"))
    figures = [{"what": "thing", "flows": n, "median": 10.0 * n, "least": 9.0 * n,
                "most": 11.0 * n, "unit": "cycles"} for n in (1, 2)]
    store.write("engine", {"cases": {"novel": {"command": "mqlb-bench novel",
                                               "figures": figures}}})
    for part in ("instructions", "ports", "idle", "start"):
        store.write(part, [table(f"{part}-made", title=f"made up for {part}")])
    store.write("machine", {"idle": {"machine": "one CPU", "pages": "no hugepages",
                                     "date": "2026-01-02"}})
    run.write_tables(store, str(tmp_path / "out"))
    with open(tmp_path / "out" / "docs" / "performance.md", encoding="utf-8") as f:
        text = f.read()
    for expected in ("made up for instructions", "made up for ports", "made up for idle",
                     "made up for start", "mqlb-bench: novel",
                     "idle: one CPU, no hugepages, 2026-01-02",
                     "| thing | 10.0 (9.00-11.0) | 20.0 (18.0-22.0) | cycles |",
                     "<!-- table: peers -->\n" + pages.NOT_MEASURED):
        assert expected in text


@pytest.mark.parametrize("content", ["", "{", "{}", json.dumps([{"name": "x"}])])
def test_a_broken_file_is_named(tmp_path, content):
    store = run.Store(str(tmp_path))
    (tmp_path / "ports.json").write_text(content)
    with pytest.raises(pages.BadTable, match="ports.json"):
        run.tables_of(store)


def test_parts_of_one_machine_are_one_line():
    first = {"machine": "two CPUs", "pages": "no hugepages", "date": "2026-01-02"}
    assert facts.line({}) == "*Nothing was measured yet.*"
    parts = {"a": first, "b": {**first, "pages": None}, "c": dict(first)}
    assert facts.line(parts).splitlines() == [
        "- a, c: two CPUs, no hugepages, 2026-01-02.", "- b: two CPUs, 2026-01-02."]
