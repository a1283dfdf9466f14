"""Instruction counts: the profile is read as valgrind writes it, each line goes to its step."""

import pytest

from scripts.bench import callgrind, instructions

PROFILE = """\
# callgrind format
version: 1
part: 2

positions: instr line
events: Ir
summary: 60

ob=(1) /bin/bench
fl=(1) lib/wire/packet.cc
fn=(7) parse_packet(int)
0x1000 10 5
+8 +2 7
fi=(2) lib/wire/address.hh
-4 * 1
* 11 2
fe=(1)
+10 12 3
cob=(3) /usr/lib/librte_mbuf.so.23.0
cfi=(4) ???
cfn=(8) free_bulk
calls=32 0x50 0
0x2000 14 20

ob=(3)
fl=(4)
fn=(8)
0x50 0 20

ob=(1)
fl=(1)
fn=(9) run
0x3000 20 2
cfn=(7)
calls=64 0x1000 10
+1 21 38
+1 22 1
totals: 60
"""


def test_a_profile():
    profile = callgrind.Profile(PROFILE.splitlines())
    assert dict(profile.cost) == {
        ("/bin/bench", 0x1000, "parse_packet(int)"): 5,
        ("/bin/bench", 0x1008, "parse_packet(int)"): 7,
        ("/bin/bench", 0x1004, "parse_packet(int)"): 3,
        ("/bin/bench", 0x100e, "parse_packet(int)"): 3,
        ("/usr/lib/librte_mbuf.so.23.0", 0x50, "free_bulk"): 20,
        ("/bin/bench", 0x3000, "run"): 2,
        ("/bin/bench", 0x3002, "run"): 1}
    assert profile.called(r"parse_packet\(") == 64
    assert profile.called("free_bulk") == 32
    assert profile.called("nobody") == 0


def test_a_profile_without_addresses_is_refused():
    with pytest.raises(callgrind.BadProfile):
        callgrind.Profile(["positions: line", "10 5"])


ENGINE = ("mqlb::engine::Worker::splice()", "../lib/engine/worker_splice.cc")
REWRITE = ("mqlb::splice::rewrite_segment()", "/tree/lib/splice/translation.hh")
HELPER = ("mqlb::wire::IpAddress::v4_bits()", "/tree/lib/wire/address.hh")
STD = ("std::bit_cast()", "/usr/include/c++/12/bit")
NAT = "/tree/app/mqlb-bench/nat.cc"


@pytest.mark.parametrize("chain, library, step", [
    ([ENGINE], "", instructions.DECIDE),
    ([REWRITE, ENGINE], "", instructions.REWRITE),
    ([STD, HELPER, REWRITE, ENGINE], "", instructions.REWRITE),
    ([HELPER, ENGINE], "", instructions.DECIDE),
    ([("parse()", "lib/wire/packet.cc")], "", instructions.PARSE),
    ([("broker()", "lib/engine/addresses.hh"), ENGINE], "", instructions.LOOK_UP),
    ([STD, ("lookup_bulk()", "lib/flow/tag_index.hh")], "", instructions.LOOK_UP),
    ([STD, ("mqlb::bench::rewrite()", NAT)], "", instructions.REWRITE),
    ([STD, ("mqlb::bench::Nat::to_clients()", NAT)], "", instructions.DECIDE),
    ([("release()", "app/mqlb-bench/rig.cc")], "", instructions.IO),
    ([("update()", "lib/wire/checksum.cc")], "", instructions.REWRITE),
    ([HELPER], "", instructions.PARSE),
    ([], "/usr/lib/librte_mempool.so.23.0", instructions.IO),
    ([], "/usr/lib/libc.so.6", instructions.OTHER),
    ([STD], "", instructions.OTHER),
])
def test_steps(chain, library, step):
    assert instructions.place_of(chain, library)[0] == step


@pytest.mark.parametrize("chain, library, file", [
    ([STD, HELPER, REWRITE, ENGINE], "", "lib/splice/translation"),
    ([ENGINE], "", "lib/engine/worker_splice"),
    ([("f()", "/usr/include/dpdk/rte_mbuf.h")], "", "rte_mbuf.h"),
    ([], "/usr/lib/librte_mempool.so.23.0", "librte_mempool"),
    ([STD], "", "other"),
])
def test_files(chain, library, file):
    assert instructions.place_of(chain, library)[1] == file


def test_the_tables():
    def part(more):
        return {(instructions.PARSE, "lib/wire/packet"): 10 + more,
                (instructions.REWRITE, "lib/splice/a"): 20,
                (instructions.REWRITE, "lib/splice/b"): 9.5,
                (instructions.REWRITE, "lib/splice/c"): 0.5}
    counted = {"spliced": [part(0), part(0), part(10), part(10)],
               "plain NAT": [part(0), part(0.5), part(0), part(0)]}
    measured = {(way, path): 80 for way in ("to broker", "to client")
                for path in ("spliced", "plain NAT")}
    made = instructions.table(instructions.sums(counted, 0), measured, "again")
    assert made["columns"][:3] == ["step", "to broker: spliced", "cycles"]
    assert made["rows"] == [
        ["parse", "10.0", "20.0", "10.0", "20.0", "20.0", "32.0", "10.0", "20.0"],
        ["rewrite", "30.0", "60.0", "30.0", "60.0", "30.0", "48.0", "30.0", "60.0"],
        ["all", "40.0", "80.0", "40.0", "80.0", "50.0", "80.0", "40.0", "80.0"]]
    assert "within 0.50 instructions" in made["notes"][-1]
    made = instructions.files_table(instructions.sums(counted, 1), "again")
    assert made["columns"] == ["file", "to broker: spliced", "to broker: plain NAT",
                               "to client: spliced", "to client: plain NAT"]
    assert made["rows"] == [["`lib/splice/a`", "20.0", "20.0", "20.0", "20.0"],
                            ["`lib/wire/packet`", "10.0", "10.0", "20.0", "10.0"],
                            ["`lib/splice/b`", "9.50", "9.50", "9.50", "9.50"]]
