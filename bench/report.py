"""Print ratio tables from pytest-benchmark's JSON: each contender against the baseline of its group.

    python -m pytest bench --benchmark-json=FILE && python bench/report.py FILE

The figure is the minimum of the rounds, in the timer of the bench (process CPU time unless it says otherwise). The
baseline of a group is the contender whose extra_info says so, else the first.
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
    for group, benches in groups.items():
        print_group(group, benches)


def print_group(group, benches):
    """Rates and the ratio to the baseline."""
    baseline = next((bench for bench in benches if bench["extra_info"].get("baseline")), benches[0])
    print(f"\n### {group}\n\n| contender | kernel | threads | items/s | ratio |\n| --- | --- | ---: | ---: | ---: |")
    for bench in benches:
        info = bench["extra_info"]
        row = (info["contender"], info.get("kernel", ""), info.get("threads", 1))
        print(f"| {row[0]} | {row[1]} | {row[2]} | {rate(bench):,.0f} | {rate(bench) / rate(baseline):.2f} |")


def rate(bench):
    """Items a second at the fastest round."""
    return bench["extra_info"]["items"] / bench["stats"]["min"]


if __name__ == "__main__":
    main(sys.argv[1])
