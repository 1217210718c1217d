"""`chainhub doctor`: diagnoses failing calls without a paid call."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from chainhub_async.cli import exits

if TYPE_CHECKING:
    from chainhub_async.cli.examination import Findings


@click.command("doctor")
@click.option(
    "--base-url",
    metavar="URL",
    help="Gateway URL. Default: CHAINHUB_BASE_URL, or the public gateway.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.pass_context
def command(context: click.Context, /, base_url: str | None, *, as_json: bool) -> None:
    """Check connectivity to the gateway and the API key, without a paid call.

    Requests the list of models, which is free. Exits with 0 if the gateway accepted the key, and
    with 1 if a check failed or could not be made.
    """
    import anyio

    from chainhub_async.cli.examination import examine

    findings = anyio.run(examine, base_url)
    _show(findings, as_json=as_json)
    context.exit(exits.SAVED if findings.healthy else exits.FAILED)


def _show(findings: Findings, *, as_json: bool) -> None:
    import json

    from chainhub_async.cli import output

    stdout = output.stdout()
    if as_json:
        stdout.line(json.dumps(findings.as_dict()))
        return
    for check in findings.checks:
        detail = f": {check.detail}" if check.detail else ""
        stdout.line(f"{check.state:<8}{check.name}{detail}")
        if check.advice:
            stdout.line(f"        -> {check.advice}")
