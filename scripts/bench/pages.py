"""Tables in the documents: Markdown between `<!-- table: NAME -->` and `<!-- end -->`.

A table is what the scripts' --json writes: a dictionary with name, title, command, columns, rows of
texts or numbers, and notes. NAME in a document is that of a table, or of a part, which stands for
all tables of the part that no document names; `others` stands for all that is left.
"""

import os
import re

PAGES = ("README.md", "docs/performance.md")
NOT_MEASURED = "*Not measured yet.*"

_KEYS = {"name", "title", "command", "columns", "rows", "notes"}
_MARKED = re.compile(r"(<!-- table: ([\w-]+) -->\n).*?(<!-- end -->)", re.DOTALL)
_FIGURE = re.compile(r"-?$|-?\d")
_OPENED = re.compile(r"<!-- table:")


class BadTable(ValueError):
    """A table or a document that is not of the common form."""


def check_all(tables, origin):
    """The tables, if they are a list of such."""
    if not isinstance(tables, list):
        raise BadTable(f"{origin}: a list of tables is expected")
    return [check(table, origin) for table in tables]


def check(table, origin):
    """The table, if it is one."""
    if not isinstance(table, dict) or set(table) != _KEYS:
        raise BadTable(f"{origin}: a table has the keys {', '.join(sorted(_KEYS))}")
    width = len(table["columns"])
    for row in table["rows"]:
        if len(row) != width:
            raise BadTable(f"{origin}: {table['name']}: {len(row)} cells in a row of {width}")
    return table


def cell_text(cell):
    """One cell on one line, and never the end of one."""
    text = f"{cell:,}" if isinstance(cell, (int, float)) else str(cell)
    return " ".join(text.split()).replace("|", "\\|")


def _line(cells):
    return "| " + " | ".join(map(cell_text, cells)) + " |"


def _rule(table):
    """The line below the columns: to the right where there are figures."""
    def kind(column):
        cells = [cell_text(row[column]) for row in table["rows"]]
        figures = column and any(cells) and all(_FIGURE.match(c) for c in cells)
        return "---:" if figures else "---"
    return "| " + " | ".join(map(kind, range(len(table["columns"])))) + " |"


def markdown(table):
    """A table with its title above and its command and notes below."""
    lines = [f"**{cell_text(table['title'])}**", "", _line(table["columns"]), _rule(table)]
    lines += map(_line, table["rows"])
    notes = [f"Made by `{table['command']}`."] if table["command"] else []
    notes += map(cell_text, table["notes"])
    if notes:
        lines += ["", *(f"- {note}" for note in notes)]
    return "\n".join(lines)


def names_in(text):
    return [match.group(2) for match in _MARKED.finditer(text)]


def fill(text, contents):
    """The document with the contents {name: Markdown} between its markers."""
    if len(_OPENED.findall(text)) != len(names_in(text)):
        raise BadTable("a `<!-- table: NAME -->` without `<!-- end -->`")

    def between(match):
        begin, name, end = match.groups()
        if _OPENED.search(match.group(0)[len(begin):]):
            raise BadTable(f"no `<!-- end -->` after the table {name}")
        return f"{begin}{contents.get(name, NOT_MEASURED)}\n{end}"
    return _MARKED.sub(between, text)


def contents(parts, named):
    """{name: Markdown} for the names in the documents, from {part: [table, ...]}."""
    out, left = {}, []
    for part, tables in parts.items():
        unnamed = []
        for table in tables:
            name = table["name"]
            if name in named and name not in parts and name not in out:
                out[name] = markdown(table)
            else:
                unnamed.append(markdown(table))
        if tables and part in named:
            out[part] = "\n\n".join(unnamed) or "None."
        else:
            left += unnamed
    if left:
        if "others" not in named:
            raise BadTable("no document has a place for all tables: `<!-- table: others -->`")
        out["others"] = "\n\n".join(left)
    return out


def rewrite(root, parts, machine, into=None):
    """Writes the tables into the documents of the tree `root`, or into copies of them in `into`."""
    texts = {}
    for page in PAGES:
        with open(os.path.join(root, page), encoding="utf-8") as f:
            texts[page] = f.read()
    named = {name for text in texts.values() for name in names_in(text)}
    made = contents(parts, named)
    made["machine"] = machine
    made.setdefault("others", "None.")
    for page, text in texts.items():
        path = os.path.join(into or root, page)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as f:
            f.write(fill(text, made))
