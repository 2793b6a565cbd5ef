"""From single measurements to a table: ratios first, each the median over rounds with its range."""

from statistics import median

from measure import WORKLOADS


def spread(values, digits=2):
    values = [value for value in values if value is not None]
    if not values:
        return "–"
    low, middle, high = min(values), median(values), max(values)
    return f"{middle:.{digits}f} ({low:.{digits}f}–{high:.{digits}f})"


def of(results, workload, server):
    """Measurements of one server under one workload, in order of rounds."""
    return [one for one in results if one["workload"] == workload and one["server"] == server]


def ratios(results, workload, server, other, figure):
    """Ratios of the same round; noise that lasts longer than a round falls out."""
    pairs = zip(of(results, workload, server), of(results, workload, other))
    return [one[figure] / two[figure] for one, two in pairs if figure in one and two.get(figure)]


def table(results, workload, servers):
    # A result of a million rows is told in ms, a transaction in µs.
    scale, unit = (1e-3, "ms") if workload == "rows" else (1, "µs")
    digits = 0 if workload == "rows" else 1
    lines = [
        f"### {WORKLOADS[workload][0]}",
        "",
        "| | speed ÷ direct | latency ÷ direct | proxy CPU ÷ bare relay's | proxy CPU ÷ backend CPU "
        f"| proxy CPU, {unit} | backend CPU, {unit} | latency, {unit} | peak RSS, MB |",
        "|---|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for server in servers:
        runs = of(results, workload, server)
        if not runs:
            continue
        cells = [
            spread(ratios(results, workload, server, "direct", "per_second")),
            spread(ratios(results, workload, server, "direct", "latency_us")),
            spread(ratios(results, workload, server, "bare relay", "proxy_us")),
            spread([run["proxy_us"] / run["backend_us"] for run in runs if "proxy_us" in run]),
            spread([run["proxy_us"] * scale for run in runs if "proxy_us" in run], digits),
            spread([run["backend_us"] * scale for run in runs], digits),
            spread([run["latency_us"] * scale for run in runs], digits),
            spread([run["peak_kb"] / 1024 for run in runs if "peak_kb" in run], 1),
        ]
        lines.append(f"| {server} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def table_of_calls(calls, servers):
    """How many system calls a transaction takes, and which most of them are."""
    workloads = [workload for workload in WORKLOADS if any(one["workload"] == workload for one in calls)]
    lines = [
        "### System calls of the proxy for each transaction",
        "",
        "Counted in a pass of its own, in which the proxy is slowed down by being traced.",
        "",
        "| | " + " | ".join(WORKLOADS[workload][0] for workload in workloads) + " |",
        "|---|" + "---|" * len(workloads),
    ]
    for server in servers:
        cells = []
        for workload in workloads:
            by_name = next((one["calls"] for one in of(calls, workload, server)), None)
            most = sorted((by_name or {}).items(), key=lambda pair: -pair[1])
            shown = ", ".join(f"{name} {count:.2f}" for name, count in most if count >= 0.05)
            cells.append(f"**{sum(by_name.values()):.2f}**: {shown}" if by_name else "–")
        if any(cell != "–" for cell in cells):
            lines.append(f"| {server} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def summary(results, calls, servers, conditions):
    """The whole report as Markdown."""
    facts = "\n".join(f"* {name}: {value}" for name, value in conditions.items())
    workloads = [workload for workload in WORKLOADS if any(one["workload"] == workload for one in results)]
    tables = [table(results, workload, servers) for workload in workloads]
    tables = "\n\n".join(tables + ([table_of_calls(calls, servers)] if calls else []))
    return f"""# End to end

Median over rounds (smallest–largest). Ratios are made within a round. CPU is user and system time of all threads of the
process, for each transaction; with more than 8 clients of seconds in which all are logged in.

{facts}

{tables}
"""
