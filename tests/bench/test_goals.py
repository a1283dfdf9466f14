"""Goals: each row is computed from what was measured, and says so if it was not."""

import pytest

from scripts.bench import engine, goals


def figure(what, flows, median, unit="cycles"):
    return {"what": what, "flows": flows, "median": median, "least": median, "most": median,
            "unit": unit}


def measured(**cases):
    return {"cases": {name: {"command": f"mqlb-bench {name}", "figures": figures}
                      for name, figures in cases.items()}}


def row(what, made_from=None, parts=None):
    """The one row that begins so, without its command."""
    rows = goals.table(made_from, parts or {})["rows"]
    (found,) = (r for r in rows if r[0].startswith(what))
    return found[1:4]


def test_nothing_measured_is_nothing_reached():
    made = goals.table(None, {})
    assert {(r[2], r[3]) for r in made["rows"]} == {("not measured", "-")}
    assert made["title"].startswith(f"0 of {len(made['rows'])} goals reached")
    assert all(r[4].startswith("`scripts/bench") for r in made["rows"])


@pytest.mark.parametrize("flows, small, full, expected", [
    (100_000, 90, 100, ["at most 100 cycles", "100 cycles", "yes"]),
    (100_000, 90, 100.2, ["at most 100 cycles", "100.2 cycles", "no"]),
    (1_000_000, 251, 3, ["at most 250 cycles", "251 cycles", "no"]),
    (10_000_000, 299, 3, ["at most 300 cycles", "299 cycles", "yes"]),
])
def test_a_spliced_packet_is_judged_by_the_dearer_size(flows, small, full, expected):
    made = measured(spliced=[figure("spliced packet to broker, 66 bytes", flows, small),
                             figure("spliced packet to broker, 1514 bytes", flows, full),
                             figure("spliced packet to client, 66 bytes", flows, 9999)])
    assert row(f"spliced packet to broker, {flows:,}", made) == expected


@pytest.mark.parametrize("alone, mixed, reached", [(100, 200, "yes"), (100, 201, "no")])
def test_half_of_the_load_is_syns(alone, mixed, reached):
    made = measured(floods=[
        figure("spliced packet to broker, alone", 100_000, alone),
        figure("packet where each second is a SYN", 100_000, mixed),
        figure("packets lost where each second is a SYN", 100_000, 0.0, "packets")])
    assert row("packets where each second is a SYN", made)[2] == reached
    assert row("packets lost", made) == ["at most 0 packets", "0 packets", "yes"]


def test_a_lost_packet_is_one_too_many():
    made = measured(floods=[
        figure("packets lost where each second is a SYN", 100_000, 1.0, "packets")])
    assert row("packets lost", made)[2] == "no"


PEERS = {"peers": [
    {"name": "peers-connect", "title": "", "command": "", "notes": [],
     "columns": ["balancer", "connections/s", "to HAProxy", "CPU us/connection", "to HAProxy",
                 "to nginx", "without empty polls", "to HAProxy"],
     "rows": [["none (direct)", "1 / 2 / 3", "9", "-", "-", "-", "-", "-"],
              ["mqlb, AF_PACKET", "1 / 2 / 3", "9", "4 / 5 / 6", "0.51", "0.40", "1", "0.1"],
              ["mqlb, AF_XDP", "1 / 2 / 3", "9", "4 / 5 / 6", "-", "0.50", "1", "0.1"]]},
    {"name": "peers-memory", "title": "", "command": "", "notes": [],
     "columns": ["balancer", "HAProxy's is times"], "rows": [["mqlb, AF_PACKET", "39.9"]]}]}


@pytest.mark.parametrize("what, expected", [
    ("mqlb, AF_PACKET: CPU of one connection, to HAProxy's", ["0.51 times", "no"]),
    ("mqlb, AF_PACKET: CPU of one connection, to nginx's", ["0.40 times", "yes"]),
    ("mqlb, AF_XDP: CPU of one connection, to HAProxy's", ["not measured", "-"]),
    ("mqlb, AF_XDP: CPU of one connection, to nginx's", ["0.50 times", "yes"]),
    ("mqlb, AF_PACKET: CPU of one message", ["not measured", "-"]),
    ("mqlb, AF_PACKET: HAProxy's bytes", ["39.9 times", "no"]),
    ("mqlb, AF_PACKET: p99 of the round trip", ["not measured", "-"]),
])
def test_goals_against_peers(what, expected):
    assert row(what, parts=PEERS)[1:] == expected


@pytest.mark.parametrize("mine, theirs, expected", [
    ("1 / 2 / 3", "4 / 5 / 1,006",
     ["below HAProxy's 5 us (4.00 to 1,006)", "2 us (1.00 to 3.00)", "yes"]),
    ("1 / 2 / 4", "4 / 5 / 6",
     ["below HAProxy's 5 us (4.00 to 6.00)", "2 us (1.00 to 4.00)", "unclear"]),
    ("-7 / -1 / 9", "4 / 5 / 6",
     ["below HAProxy's 5 us (4.00 to 6.00)", "-1 us (-7.00 to 9.00)", "unclear"]),
    ("7 / 8 / 9", "4 / 5 / 6",
     ["below HAProxy's 5 us (4.00 to 6.00)", "8 us (7.00 to 9.00)", "no"]),
    ("7 / 8 / 9", "-", ["below HAProxy's", "not measured", "-"]),
    ("-", "4 / 5 / 6", ["below HAProxy's", "not measured", "-"]),
])
def test_added_latency_is_judged_only_beyond_the_noise(mine, theirs, expected):
    parts = {"peers": [{
        "name": "peers-latency", "title": "", "command": "", "notes": [],
        "columns": ["balancer", "p99", "p99 above direct"],
        "rows": [["mqlb, AF_XDP", "1", mine], ["HAProxy", "1", theirs]]}]}
    assert row("mqlb, AF_XDP: p99 of the round trip", parts=parts) == expected


def test_disturbances_are_told():
    made = measured(floods=[], memory=[])
    made["cases"]["floods"]["share"] = 0.5
    parts = {"peers": [{"name": "x", "columns": [], "rows": [],
                        "notes": ["Other threads took it", "else"]}]}
    notes = goals.table(made, parts)["notes"]
    assert notes[1:] == [
        "mqlb-bench floods: Disturbed: mqlb-bench had its CPU for 50 % of the time only.",
        "bench-peers: Other threads took it"]


IDLE = {"idle": [
    {"name": "idle", "title": "", "command": "", "notes": [],
     "columns": ["ports", "poll", "CPU, % of a core", "at most 5 %", "p50 us", "p99 us"],
     "rows": [["mqlb, AF_PACKET", "busy", "100", "-", "7", "9"],
              ["mqlb, AF_PACKET", "adaptive", "2 / 3 / 9", "yes", "50 / 60 / 70", "80 / 101 / 120"],
              ["mqlb, AF_XDP", "busy", "100", "-", "7", "9"]]}]}
START = {"start": [
    {"name": "start", "title": "", "command": "", "notes": [],
     "columns": ["daemon", "ready in s", "resident MB, no flow", "resident MB, full"],
     "rows": [["100,000 flows, --no-huge", "0.2 / 0.3 / 2.4", "9", "256.4 / 257 / 258"]]}]}


@pytest.mark.parametrize("what, parts, expected", [
    ("mqlb, AF_PACKET: CPU of an idle", IDLE, ["at most 5 % of a core", "3 % of a core", "yes"]),
    ("mqlb, AF_PACKET: p99 of the answer", IDLE, ["at most 100 us", "101 us", "no"]),
    ("mqlb, AF_XDP: CPU of an idle", IDLE, ["at most 5 % of a core", "not measured", "-"]),
    ("memory of the whole daemon", START, ["at most 256 MB", "257 MB", "no"]),
    ("time until that daemon", START, ["at most 2 s", "0.30 s", "yes"]),
])
def test_goals_of_the_daemon(what, parts, expected):
    assert row(what, parts=parts) == expected


@pytest.mark.parametrize("cell, value", [
    ("1 / 2 / 3", 2), ("1,234.5", 1234.5), ("-", None), ("", None), (7, 7), ("12 %", 12)])
def test_cells(cell, value):
    assert goals.parse(cell) == value


def test_the_engine_as_tables():
    kinds = [("spliced packet to broker, 66 bytes", 100.0, "cycles"),
             ("plain NAT to broker, 66 bytes", 80.0, "cycles"),
             ("splice tax to broker, 66 bytes", 1.25, "ratio"), ("what else", 3.0, "things")]
    made = measured(spliced=[figure(what, n, value, unit)
                             for n in (1000, 100_000) for what, value, unit in kinds],
                    maglev=[figure("built", 0, 5.0, "ms")])
    spliced, maglev = engine.tables(made, "again")
    assert spliced["columns"] == ["packet", "path", "1,000 flows", "100,000 flows", "unit"]
    assert spliced["rows"] == [
        ["to broker, 66 bytes", "spliced", "100", "100", "cycles"],
        ["to broker, 66 bytes", "plain NAT", "80.0", "80.0", "cycles"],
        ["to broker, 66 bytes", "tax", "1.25", "1.25", "ratio"],
        ["what else", "-", "3.00", "3.00", "things"]]
    assert maglev["columns"] == ["what", "value", "unit"]
    assert maglev["rows"] == [["built", "5.00", "ms"]]


def test_cases_are_those_that_the_program_has(tmp_path):
    program = tmp_path / "bench"
    program.write_text("#!/bin/sh\necho 'usage: x\n  one   this\n  ports   that\n  two  it' >&2\n")
    program.chmod(0o755)
    assert engine.cases(str(program)) == ["one", "ports", "two"]
    assert engine.cases(str(program), {"ports"}) == ["one", "two"]
    program.write_text("#!/bin/sh\necho no usage >&2\n")
    with pytest.raises(engine.BenchFailed):
        engine.cases(str(program))


@pytest.mark.parametrize("script, complaint", [
    ("echo '[]'", None), ("echo what is wrong >&2; exit 1", "what is wrong"),
    ("kill -9 $$", "one")])
def test_a_case_is_run(tmp_path, script, complaint):
    program = tmp_path / "bench"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    if complaint:
        with pytest.raises(engine.BenchFailed, match=complaint):
            engine.run(str(program), "one", True, 0)
        return
    done = engine.run(str(program), "one", True, 0)
    assert done["command"].endswith("--runs 1 --json one") and done["figures"] == []
    assert 0 < done["share"] <= 1


def test_hugepages_are_used_if_there_are_enough():
    room = engine.megabytes_for([100_000]) << 20
    assert "--no-huge" in engine.eal_arguments([100_000], room - 1)
    assert "--no-huge" not in engine.eal_arguments([100_000], room)
