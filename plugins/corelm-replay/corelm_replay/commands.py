"""`corelm replay` and `corelm verify`."""

import math
import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import typer

import corelm
from corelm.commands import ExitCode, Output, read_text
from corelm.errors import UsageError
from corelm.runs import NamedModel, SafeFile, printable
from corelm_replay.audit import picture
from corelm_replay.documents import stated_sampler
from corelm_replay.entropy import EntropyLog
from corelm_replay.ratios import CHAINS, audit_of
from corelm_replay.receipts import Receipt
from corelm_replay.recording import Rollouts, record
from corelm_replay.verification import Finding, model_of, verify

LARGEST = 2**30
"""The largest file of rollouts, in bytes."""
STATED = ("model", "chain", "seed", "sample", "prompt_index")
"""The fields of a receipt that a reader has to compare."""
CONDITION = re.compile(r"(?P<name>[a-z_]+)\s*>\s*(?P<limit>[0-9.eE+-]+)")

Model = Annotated[str, typer.Option(metavar="NAME|PATH", help="The model.")]
Sampler = Annotated[str, typer.Option(metavar="SAMPLER", help="The chain that draws.")]
Stated = Annotated[
    str | None,
    typer.Option(metavar="SAMPLER", help="The chain that the file must state; by default any."),
]
Length = Annotated[int, typer.Option(help="The largest number of tokens of a text.", min=1)]
Texts = Annotated[int, typer.Option("-n", help="Texts of each prompt.", min=1)]
Seed = Annotated[int, typer.Option(help="The random seed.", min=0)]


def record_rollouts(
    prompts: Annotated[list[str], typer.Argument(metavar="PROMPT...", help="The prompts.")],
    output: Annotated[str, typer.Option(metavar="FILE", help="Where the rollouts are written.")],
    sampler: Sampler = "temperature(t=1.0)",
    model: Model = "gpt2",
    length: Length = 50,
    n: Texts = 8,
    seed: Seed = 1,
) -> None:
    """Draw texts and record each token's log-probabilities and the set that it was drawn from.

    \b
    corelm replay record "This movie" --sampler "top_p(p=0.8)" --output r.json
    """
    rollouts = record(corelm.load(model), prompts, sampler=sampler, length=length, n=n, seed=seed)
    SafeFile(output).write(rollouts.to_json().encode())
    with Output.open() as out:
        out.text(f"{int(rollouts.drawn.sum())} tokens of {len(rollouts.texts)} texts\n")


def audit_rollouts(
    file: Annotated[str, typer.Argument(metavar="FILE", help="Rollouts of corelm replay record.")],
    model: Annotated[str, typer.Option(metavar="NAME|PATH", help="The trainer's model.")] = "gpt2",
    sampler: Stated = None,
    draw: Annotated[
        str | None, typer.Option("--picture", metavar="FILE", help="Save a picture: .svg, .png.")
    ] = None,
    fail_if: Annotated[
        list[str] | None,
        typer.Option(metavar="'FIGURE > NUMBER'", help="Exit with 1 where a figure is above it."),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON document.")] = False,
) -> None:
    """Split the difference of a trainer's log-probabilities from the recorded ones by cause.

    \b
    corelm replay audit r.json --model gpt2 --fail-if "replayed_outside > 0.01"
    """
    conditions = [condition(text) for text in fail_if or []]
    rollouts = Rollouts.from_json(read_text(file, "the rollouts", LARGEST))
    chain = stated_sampler(rollouts.chain, sampler)
    result = audit_of(rollouts, chain, corelm.load(model))
    figures = result.figures()
    if unknown := [name for _, name, _ in conditions if name not in figures]:
        raise UsageError(f"no figure {unknown[0]!r} in this audit; it has {', '.join(figures)}")
    failed = [text for text, name, limit in conditions if not figures[name] <= limit]
    with Output.open() as out:
        out.json(figures) if json else out.text("\n".join(result.table()) + "\n")
    if draw is not None:
        picture(result, draw)
    if failed:
        typer.echo("failed: " + "; ".join(failed), err=True)
        raise typer.Exit(ExitCode.FAILED)


def show_ratios(
    sampler: Annotated[
        list[str] | None, typer.Option(metavar="SAMPLER", help="A chain; twenty by default.")
    ] = None,
    model: Model = "gpt2",
    scorer: Annotated[
        str | None,
        typer.Option(metavar="NAME|PATH", help="The trainer's model; the same by default."),
    ] = None,
    prompt: Annotated[str, typer.Option(help="The prompt.")] = "This movie",
    length: Length = 60,
    n: Texts = 64,
    seed: Seed = 1,
) -> None:
    """Show how many importance ratios lie outside 0.9 to 1.1, without and with replay."""
    loaded = corelm.load(model)
    trainer = loaded if scorer is None else corelm.load(scorer)
    with Output.open() as out:
        out.text(f"{'chain':<52}{'tokens':>8}{'without':>9}{'with':>8}{'largest':>10}\n")
        for chain in sampler or CHAINS:
            rollouts = record(loaded, [prompt], sampler=chain, length=length, n=n, seed=seed)
            result = audit_of(rollouts, chain, trainer)
            figures = result.figures()
            largest = abs(result.differences["rounding"]).max()
            out.text(
                f"{chain:<52}{result.tokens:>8}{figures['ratios_outside']:>9.1%}"
                f"{figures['replayed_outside']:>8.1%}{largest:>10.1g}\n"
            )


def show_entropy(
    file: Annotated[str, typer.Argument(metavar="FILE", help="A log of EntropyLog.")],
) -> None:
    """Show the entropy, kept mass and surprisal of rollouts over training."""
    log = EntropyLog.read(file)
    with Output.open() as out:
        out.text("\n".join(log.table()) + "\n")


def verify_receipt(
    file: Annotated[str, typer.Argument(metavar="FILE", help="A receipt.")],
    model: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|PATH",
            help="The same model, also in another engine, whose checksum is not compared.",
        ),
    ] = None,
    sampler: Stated = None,
    tolerance: Annotated[
        float | None,
        typer.Option(
            help="Nats by which the logits of engines may differ; by default 0.002, and 0.00001 "
            "for the network that the receipt names.",
            min=0,
        ),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON document.")] = False,
) -> None:
    """Check token by token that a text was drawn as its receipt states.

    \b
    corelm verify receipt.json
    """
    receipt = Receipt.from_json(read_text(file, "the receipt"))
    loaded = model_of(receipt, model)
    findings = verify(receipt, loaded, sampler=sampler, tolerance=tolerance)
    is_ended = receipt.tokens[-1] in loaded.vocabulary.ends
    text = loaded.vocabulary.decode([*receipt.prompt, *receipt.tokens])
    with Output.open() as out:
        if json:
            stated = {name: getattr(receipt, name) for name in STATED}
            out.json(
                {"tokens": len(receipt.tokens), "ended": is_ended, "stated": stated, "text": text}
                | {"findings": [vars(each) for each in findings]}
            )
        else:
            lines = [*verdict(receipt, findings, text)]
            if not findings and NamedModel(loaded).fingerprint() != receipt.model_sha256:
                lines.append("  replayed on a model with another checksum than the receipt's")
            if not findings and not is_ended:
                lines.append(
                    "  the text has no end: its receipt doesn't show whether more was drawn"
                )
            out.text("".join(f"{line}\n" for line in lines))
    if findings:
        raise typer.Exit(ExitCode.FAILED)


def verdict(receipt: Receipt, findings: list[Finding], text: str) -> Iterator[str]:
    """Yield the lines of a verdict: what was stated, and the tokens that were drawn otherwise."""
    for each in findings:
        yield f"token {each.place} ({each.token}): {each.reason}"
    if not findings:
        yield f"all {len(receipt.tokens)} tokens were drawn as stated:"
        model = receipt.model.removeprefix("corelm:") or "a model without a name"
        numbers = f"seed {receipt.seed}"
        for name in ("sample", "prompt_index"):  # else a writer chooses among the texts of a seed
            if number := getattr(receipt, name):
                numbers += f", {name} {number}"
        yield f"  {printable.one_line(f'{receipt.chain}, {model}, {numbers}')}"
        yield f"  {printable.one_line(text)}"


def condition(text: str) -> tuple[str, str, float]:
    """Return a condition of --fail-if with its figure and limit."""
    match = CONDITION.fullmatch(text.strip())
    try:
        name, limit = match.groups() if match else ("", "")
        if (number := float(limit)) < math.inf:  # no figure is above it
            return text, name, number
    except ValueError:
        pass
    raise UsageError(f"--fail-if takes 'figure > number', not {text!r}")


@corelm.hookimpl
def corelm_commands() -> Mapping[str, Any]:
    app = typer.Typer(help="Record rollouts for a trainer, and audit its log-probabilities.")
    app.command("record")(record_rollouts)
    app.command("audit")(audit_rollouts)
    app.command("ratios")(show_ratios)
    app.command("entropy")(show_entropy)
    check = typer.Typer(help="Say whether a text was drawn as its receipt states.")
    check.command("verify")(verify_receipt)
    return {"replay": app, "verify": check}
