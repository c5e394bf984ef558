"""The table of docs/kafka-clients.md, from the results of a run."""
import pathlib

from scenarios import NAMES

PAGE = pathlib.Path(__file__).resolve().parents[3] / "docs/kafka-clients.md"
BEGIN, END = "<!-- begin: written by tests/kafka-clients/run.sh --write-docs -->", "<!-- end -->"
TITLES = {"java-tools": "Kafka's command-line tools (4.3.0)"}
MARKS = {"pass": "yes", "fail": "**no**", "skipped": "–"}


def table(results):
    """Markdown: what passed for each client, then every remark and reason."""
    seen = {one["scenario"] for one in results["results"] if one["client"] in results["clients"]}
    scenarios = [name for name in [*NAMES, "interop-write", "interop-read"] if name in seen]
    by_client, notes = {}, {}
    for one in results["results"]:
        by_client.setdefault(one["client"], {})[one["scenario"]] = one
    lines = ["| client | version | " + " | ".join(scenarios) + " |", "|---|---|" + "---|" * len(scenarios)]
    for client, answers in sorted(by_client.items()):
        if client not in results["clients"]:
            continue
        cells = []
        for scenario in scenarios:
            one = answers.get(scenario)
            mark = MARKS[one["outcome"]] if one else "–"
            if one and one["remark"]:
                mark += f" [{notes.setdefault(one['remark'], len(notes) + 1)}]"
            cells.append(mark)
        lines.append(f"| {client} | {results['clients'][client]['version']} | " + " | ".join(cells) + " |")
    for client, answers in sorted(by_client.items()):
        if client in results["clients"]:
            continue
        told = (f"{scenario} {MARKS[one['outcome']]}{' (' + one['remark'] + ')' if one['remark'] else ''}"
                for scenario, one in answers.items())
        lines += ["", f"{TITLES.get(client, client)}: {', '.join(told)}."]
    lines += ["", *(f"{number}. {note}" for note, number in notes.items())]
    return "\n".join(lines)


def write(results):
    if results["broker"] != "highwater":
        raise SystemExit("the results are not of Highwater")
    page = PAGE.read_text(encoding="utf-8")
    before, _, rest = page.partition(BEGIN)
    after = rest.partition(END)[2]
    PAGE.write_text(f"{before}{BEGIN}\n{table(results)}\n{END}{after}", encoding="utf-8")
    print(f"wrote {PAGE}")
