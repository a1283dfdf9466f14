"""The goals beside what was measured. Whether one is reached is computed here, never typed."""

from scripts.bench import engine
from scripts.bench.tables import number

NOT_MEASURED = "not measured"
_PORTS = ("mqlb, AF_PACKET", "mqlb, AF_XDP")
_BENCH = "scripts/bench.sh --only engine"
_PEERS = "scripts/bench-peers.sh"
_CYCLES = {100_000: 100, 1_000_000: 250, 10_000_000: 300}
_DIRECTIONS = ("to broker", "to client")


class Goal:
    """At most, or at least, so much of a unit. What was measured is a figure of mqlb-bench, of
    which the median is judged, or a number; None where it was not measured."""

    def __init__(self, what, limit, unit, measured, command, most=True):
        self.what, self.limit, self.unit, self.measured = what, limit, unit, measured
        self.command, self.most = command, most

    def row(self):
        known = self.measured is not None
        return [self.what, self.goal(), self._measured() if known else NOT_MEASURED,
                self.reached() if known else "-", f"`{self.command}`"]

    def goal(self):
        return f"{'at most' if self.most else 'at least'} {self._text(self.limit)}"

    def value(self):
        return self.measured["median"] if isinstance(self.measured, dict) else self.measured

    def reached(self):
        value = self.value()
        return "yes" if (value <= self.limit if self.most else value >= self.limit) else "no"

    def _measured(self):
        text = self._text(self.value(), self.limit)
        return text + _range(self.measured) if isinstance(self.measured, dict) else text

    def _text(self, value, limit=None):
        return f"{amount(value, limit)} {self.unit}".rstrip()


class Below(Goal):
    """Less than a peer's. Both are differences between runs, which noise can be greater than: where
    the runs of one overlap with those of the other, nothing is known."""

    def __init__(self, what, unit, mine, theirs, command):
        self._theirs = theirs
        known = mine is not None and theirs is not None
        super().__init__(what, theirs["median"] if known else None, unit,
                         mine if known else None, command)

    def goal(self):
        if self.measured is None:
            return "below HAProxy's"
        return f"below HAProxy's {self._text(self.limit)}{_range(self._theirs)}"

    def reached(self):
        if self.measured["most"] < self._theirs["least"]:
            return "yes"
        return "no" if self.measured["least"] > self._theirs["most"] else "unclear"


def _range(figure):
    if figure["least"] == figure["most"]:
        return ""
    return f" ({number(figure['least'])} to {number(figure['most'])})"


def amount(value, limit):
    """As many digits as tell it from its limit."""
    if value == int(value):
        return f"{int(value):,}"
    if value == limit:
        return number(value)
    texts = [number(value), *(f"{value:,.{digits}f}" for digits in range(1, 7))]
    return next((t for t in texts if float(t.replace(",", "")) != limit), texts[-1])


def spliced(figures):
    for flows, limit in _CYCLES.items():
        for way in _DIRECTIONS:
            yield Goal(f"spliced packet {way}, {flows:,} flows (the dearer size)", limit, "cycles",
                       figures.worst("spliced", f"spliced packet {way}", flows), _BENCH)
    for flows in _CYCLES:
        yield Goal(f"splice tax: to a plain NAT, {flows:,} flows (the dearest direction and size)",
                   1.10, "", figures.worst("spliced", "splice tax", flows), _BENCH)


def _slowdown(figures, flows):
    alone = figures.get("floods", "spliced packet to broker, alone", flows)
    mixed = figures.get("floods", "packet where each second is a SYN", flows)
    return mixed["median"] / alone["median"] if alone and mixed else None


def engine_goals(figures):
    yield from spliced(figures)
    flows = 100_000
    yield Goal(f"whole connection, Client ID of 64 bytes, {flows:,} flows", 8000, "cycles",
               figures.get("connections", "connection, Client ID of 64 bytes", flows), _BENCH)
    yield Goal(f"SYN answered, {flows:,} flows", 300, "cycles",
               figures.get("floods", "SYN answered", flows), _BENCH)
    yield Goal("packets where each second is a SYN: cycles of one, to a spliced packet's alone "
               f"({flows:,} flows)", 2, "times", _slowdown(figures, flows), _BENCH)
    yield Goal(f"packets lost where each second is a SYN ({flows:,} flows)", 0, "packets",
               figures.get("floods", "packets lost where each second is a SYN", flows), _BENCH)
    yield Goal("memory of a flow (IPv4), 10,000,000 flows", 192, "bytes",
               figures.get("memory", "memory per flow", 10_000_000), _BENCH)
    yield Goal("Maglev table of 1,000 brokers built", 20, "ms",
               figures.get("maglev", "Maglev table built, 1000 brokers"), _BENCH)
    for brokers in (3, 100, 1000):
        yield Goal(f"moved when a broker joins or leaves {brokers:,} others: 1/N + 1 %",
                   100 / (brokers + 1) + 1, "%",
                   figures.get("maglev", f"moved when one joins {brokers} brokers"), _BENCH)


class Cells:
    """Cells of the tables of a part."""

    def __init__(self, tables):
        self._tables = {table["name"]: table for table in tables}

    def number(self, name, row, column, after=None):
        """The median there, or nothing."""
        cell = self._cell(name, row, column, after)
        return None if cell is None else parse(cell)

    def spread(self, name, row, column):
        """{"least", "median", "most"} of a cell that has them, or nothing."""
        cell = self._cell(name, row, column, None)
        values = [parse(part) for part in str(cell).split(" / ")]
        if len(values) != 3 or None in values:
            return None
        return dict(zip(("least", "median", "most"), values))

    def _cell(self, name, row, column, after):
        """In the row that begins so (one cell or several) and the column whose name begins so, the
        first behind that which is called `after`."""
        head = [row] if isinstance(row, str) else list(row)
        table = self._tables.get(name)
        if table is None:
            return None
        columns = table["columns"]
        begin = columns.index(after) + 1 if after in columns else 0
        found = [i for i in range(begin, len(columns)) if columns[i].startswith(column)]
        cells = [cells for cells in table["rows"] if cells[:len(head)] == head]
        return cells[0][found[0]] if cells and found else None


def parse(cell):
    """The figure in a cell; of least / median / most the median; None if there is none."""
    if isinstance(cell, (int, float)):
        return cell
    parts = cell.split(" / ")
    try:
        return float(parts[len(parts) // 2].split()[0].replace(",", ""))
    except (ValueError, IndexError):
        return None


def start_goals(cells):
    command = "scripts/bench.sh --only start"
    row = "100,000 flows, --no-huge"
    yield Goal("memory of the whole daemon with 100,000 flows, --no-huge", 256, "MB",
               cells.number("start", row, "resident MB, full"), command)
    yield Goal("time until that daemon is ready", 2, "s",
               cells.number("start", row, "ready in s"), command)


def peer_goals(cells):
    for port in _PORTS:
        for thing, name, peers in (("connection", "peers-connect", ("HAProxy", "nginx")),
                                   ("message", "peers-throughput", ("HAProxy",))):
            for peer in peers:
                yield Goal(f"{port}: CPU of one {thing}, to {peer}'s", 0.5, "times",
                           cells.number(name, port, f"to {peer}", f"CPU us/{thing}"), _PEERS)
        yield Goal(f"{port}: HAProxy's bytes of an idle connection, to mqlb's", 40, "times",
                   cells.number("peers-memory", port, "HAProxy's is times"), _PEERS, most=False)
        mine, theirs = (cells.spread("peers-latency", name, "p99 above direct")
                        for name in (port, "HAProxy"))
        yield Below(f"{port}: p99 of the round trip above direct", "us", mine, theirs, _PEERS)


def idle_goals(cells):
    command = "scripts/bench-idle.sh"
    for port in _PORTS:
        row = (port, "adaptive")
        yield Goal(f"{port}: CPU of an idle daemon", 5, "% of a core",
                   cells.number("idle", row, "CPU"), command)
        yield Goal(f"{port}: p99 of the answer to the first packet on an idle daemon", 100, "us",
                   cells.number("idle", row, "p99 us"), command)


def table(measured, parts):
    """All goals. `measured` is mqlb-bench's, or nothing; `parts` are the tables of all parts."""
    goals = list(engine_goals(engine.Figures(measured)))
    for part, make in (("start", start_goals), ("peers", peer_goals), ("idle", idle_goals)):
        goals += make(Cells(parts.get(part, [])))
    rows = [goal.row() for goal in goals]
    reached = sum(row[3] == "yes" for row in rows)
    known = sum(row[2] != NOT_MEASURED for row in rows)
    return {"name": "goals", "title": f"{reached} of {len(rows)} goals reached, {known} measured",
            "command": "scripts/bench.sh",
            "columns": ["what", "goal", "measured", "reached", "command"], "rows": rows,
            "notes": [_RANGE, *_disturbances(measured, parts)]}


_RANGE = ("In brackets the least and the most of the runs, where there are several; the median is "
          "judged.")


def _disturbances(measured, parts):
    """What the tables say of others that used the CPUs meanwhile."""
    cases = measured["cases"] if measured else {}
    notes = [f"mqlb-bench {name}: {note}" for name, case in cases.items()
             for note in engine.disturbed(case)]
    peers = {note for table in parts.get("peers", []) for note in table["notes"]
             if note.startswith("Other threads")}
    return notes + [f"bench-peers: {note}" for note in sorted(peers)]
