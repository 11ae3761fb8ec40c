"""Tables of what the service takes, and of what it answered to hostile requests."""

from tables_read import Rows, stored


def service() -> Rows:
    """Of each model the floor, one client, and two hundred of whom half are hostile."""
    models = stored("service")["models"]
    rows: Rows = [["", *(f"`{name}`" for name in models)]]

    def row(title: str, cell) -> None:
        rows.append([title, *(cell(one) for one in models.values())])

    row("compute floor, a picture", lambda x: f"{x['floor']['best_ms_a_picture']:.2f} ms")
    row("one client: p50", lambda x: f"{x['calm']['p50_ms']:.0f} ms")
    row("one client: p99", lambda x: f"{x['calm']['p99_ms']:.0f} ms")
    row("200 clients: p50 of valid requests", lambda x: f"{x['load']['p50_ms'] / 1e3:.2f} s")
    row("200 clients: p99", lambda x: f"{x['load']['p99_ms'] / 1e3:.2f} s")
    row("requests a second", lambda x: f"{x['load']['requests_a_second']:.0f}")
    row("... of them valid", lambda x: f"{x['load']['valid_a_second']:.0f}")
    row("valid requests", lambda x: str(x["load"]["valid"]))
    row("put off by 503, and tried again", lambda x: str(x["load"]["put_off"]))
    row("memory, first tenth", lambda x: f"{x['memory']['resident_by_tenths'][0] / 1e6:.0f} MB")
    row("memory, last tenth", lambda x: f"{x['memory']['resident_by_tenths'][-1] / 1e6:.0f} MB")
    row("tracebacks, wrong answers", lambda x: f"{x['tracebacks']}, {x['load']['wrong_count']}")
    row("scores differ, relatively", lambda x: f"{x['load']['score_error']:.1e}")
    return rows


def service_hostile() -> Rows:
    """How often each hostile request was answered how."""
    models = stored("service")["models"]
    kinds = sorted({kind for one in models.values() for kind in one["load"]["hostile"]})
    rows: Rows = [["request and status", *(f"`{name}`" for name in models)]]
    for kind in kinds:
        counts = [str(one["load"]["hostile"].get(kind, 0)) for one in models.values()]
        rows.append([kind.replace("_", " "), *counts])
    return rows
