"""What valgrind's callgrind counted (its format is in valgrind's manual, "Callgrind Format
Specification"), and which source lines an instruction is of."""

import collections
import re
import subprocess

_NAMED = re.compile(r"\((\d+)\)(?: (.*))?$")
# Which table of compressed names a record is of. Files and functions of lines are not used: the
# lines of inlined functions come from the debug info, with their callers.
_TABLES = {"ob": "ob", "cob": "ob", "fn": "fn", "cfn": "fn"}


class BadProfile(ValueError):
    """No output of callgrind with --dump-instr=yes."""


class Profile:
    """Instructions executed by (object, address, function), and how often functions were called."""

    def __init__(self, lines):
        self.cost = collections.Counter()
        self.calls = collections.Counter()
        self._names = {"ob": {}, "fn": {}}
        self._at = {"ob": None, "fn": None, "cfn": None}
        self._address = 0
        instructions = call = False
        for line in lines:
            line = line.rstrip("\n")
            key, equals, value = line.partition("=")
            if line == "positions: instr line":
                instructions = True
            elif equals and key in _TABLES:
                self._at[key] = self._name(_TABLES[key], value)
            elif key == "calls":
                self.calls[self._at["cfn"]] += int(value.split()[0])
                call = True
            elif line[:1] in ("0", "+", "-", "*") and line[1:2] not in ("", "="):
                self._count(line, call)
                call = False
        if not instructions:
            raise BadProfile("callgrind's output has no addresses")

    def _name(self, table, value):
        """A name is written once, then called by its number."""
        found = _NAMED.match(value)
        if not found:
            return value
        number, name = found.groups()
        if name is not None:
            self._names[table][number] = name
        return self._names[table][number]

    def _count(self, line, call):
        """`address line count`, addresses as differences; a call is counted where it goes."""
        words = line.split()
        step = words[0]
        if step.startswith("0x"):
            self._address = int(step, 16)
        elif step != "*":
            self._address += int(step, 0)
        if not call and len(words) > 2:
            self.cost[self._at["ob"], self._address, self._at["fn"]] += int(words[2])

    def called(self, pattern):
        """How often the one function was called whose name has the pattern."""
        return max((n for name, n in self.calls.items() if name and re.search(pattern, name)),
                   default=0)


def source_chains(program, addresses):
    """{address: [(function, file), ...]}: where it is in the source, then who has inlined that."""
    text = "".join(f"{address:#x}\n" for address in addresses)
    done = subprocess.run(["addr2line", "-e", program, "-a", "-i", "-f", "-C"], input=text,
                          capture_output=True, text=True, check=True)
    chains, chain, function = {}, [], None
    for line in done.stdout.splitlines():
        if re.fullmatch(r"0x[0-9a-f]+", line):
            chain = chains.setdefault(int(line, 16), [])
            function = None
        elif function is None:
            function = line
        else:
            chain.append((function, line.rsplit(":", 1)[0]))
            function = None
    return chains
