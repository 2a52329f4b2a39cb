"""Print ratio tables from pytest-benchmark's JSON: each contender against the baseline of its group.

    python -m pytest bench --benchmark-json=FILE && python bench/report.py FILE

The figure is the minimum of the rounds, in the timer of the bench (process CPU time unless it says otherwise). The
baseline of a group is the contender whose extra_info says so (`baseline`). Where the others name one (`against`) and it
did not run, there are no ratios, and the table says why; where nobody names one, it is the first. The column's head
names it. `also` puts a measurement into a second group, under the name and against the baseline that it says. What else
extra_info holds stands below.
"""

import json
import sys
from collections import defaultdict


def main(path):
    """Print one Markdown table a group."""
    with open(path) as file:
        report = json.load(file)
    print(f"CPU: {report['machine_info']['cpu'].get('brand_raw', 'unknown')}")
    groups = defaultdict(list)
    for bench in report["benchmarks"]:
        groups[bench["group"] or bench["name"]].append(bench)
        if also := bench["extra_info"].get("also"):
            groups[also["group"]].append(in_other_table(bench, also))
    for group, benches in groups.items():
        print_group(group, benches)


def in_other_table(bench, also):
    """The same measurement as a row of another table, without what stands below the first."""
    info = {name: bench["extra_info"][name] for name in ("items", "threads", "kernel")}
    return bench | {"extra_info": info | {name: value for name, value in also.items() if name != "group"}}


def print_group(group, benches):
    """Rates and the ratio to the baseline."""
    baseline = find_baseline(benches)
    head = f"against {baseline['extra_info']['contender']}" if baseline and len(benches) > 1 else "ratio"
    print(f"\n### {group}\n\n| contender | kernel | threads | items/s | {head} |\n| --- | --- | ---: | ---: | ---: |")
    for bench in benches:
        info = bench["extra_info"]
        row = (info["contender"], info.get("kernel", ""), info.get("threads", 1))
        ratio = f"{rate(bench) / rate(baseline):.2f}" if baseline else "none"
        print(f"| {row[0]} | {row[1]} | {row[2]} | {rate(bench):,.0f} | {ratio} |")
    if baseline is None:
        print(f"\nNo ratios: {declared(benches)}, the baseline, did not run (pytest's summary names what was skipped).")
    for line in sorted({line for bench in benches for line in other_info(bench["extra_info"])}):
        print(f"\n{line}")


def declared(benches):
    """Name of the baseline that the contenders want to be compared to, if they name one."""
    return next((bench["extra_info"]["against"] for bench in benches if "against" in bench["extra_info"]), None)


def find_baseline(benches):
    """The bench that the others are compared to; None where the declared one did not run."""
    found = next((bench for bench in benches if bench["extra_info"].get("baseline")), None)
    return found or (None if declared(benches) else benches[0])


def other_info(info):
    """Measures beside the rate, such as the memory that a contender takes."""
    known = {"contender", "items", "threads", "kernel", "baseline", "against", "also"}
    for name, value in info.items():
        if name not in known:
            text = f"{value:,.1f}" if isinstance(value, float) else str(value)
            yield f"{info['contender']}: {name.replace('_', ' ')} {text}"


def rate(bench):
    """Items a second at the fastest round."""
    return bench["extra_info"]["items"] / bench["stats"]["min"]


if __name__ == "__main__":
    main(sys.argv[1])
