"""The machine on which a part was measured, in a line."""

import os
import subprocess
import time


def _meminfo(key):
    with open("/proc/meminfo", encoding="ascii") as f:
        return next((int(line.split()[1]) for line in f if line.startswith(key + ":")), 0)


def huge_free():
    """Bytes in free hugepages."""
    return _meminfo("HugePages_Free") * _meminfo("Hugepagesize") * 1024


def _cpu_model():
    with open("/proc/cpuinfo", encoding="utf-8") as f:
        return next((l.split(":")[1].strip() for l in f if l.startswith("model name")), "unknown")


def _dpdk():
    done = subprocess.run(["pkg-config", "--modversion", "libdpdk"], capture_output=True, text=True,
                          check=False)
    return done.stdout.strip() or "unknown"


def machine(ghz):
    clock = f"TSC {ghz:.2f} GHz" if ghz else "TSC rate unknown"
    return (f"{os.cpu_count()} CPUs ({_cpu_model()}), {clock}, Linux {os.uname().release}, "
            f"DPDK {_dpdk()}")


def today():
    return time.strftime("%Y-%m-%d", time.gmtime())


def pages_of(command):
    """Which pages a command of mqlb-bench gives the tables."""
    return "no hugepages" if "--no-huge" in command else "hugepages"


def line(parts):
    """From {part: {"machine", "pages", "date"}}: parts that are alike together. `pages` is nothing
    where the part tells it itself."""
    alike = {}
    for part, facts in parts.items():
        alike.setdefault((facts["machine"], facts["pages"], facts["date"]), []).append(part)
    if not alike:
        return "*Nothing was measured yet.*"
    return "\n".join(f"- {', '.join(names)}: {', '.join(filter(None, facts))}."
                     for facts, names in alike.items())
