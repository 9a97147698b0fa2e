"""`corelm replay` and `corelm verify`."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

import corelm
from corelm.commands import ExitCode, product
from corelm.errors import UsageError
from corelm_replay.audit import audit, picture
from corelm_replay.entropy import EntropyLog
from corelm_replay.ratios import CHAINS, own_audit, trainer_logits
from corelm_replay.receipts import Receipt
from corelm_replay.recording import Rollouts, record
from corelm_replay.verification import TOLERANCE, verify

CONDITION = re.compile(r"(?P<name>[a-z_]+)\s*>\s*(?P<limit>[0-9.eE+-]+)")

Model = Annotated[str, typer.Option(metavar="NAME|PATH", help="The model.")]
Sampler = Annotated[str, typer.Option(metavar="SAMPLER", help="The chain that draws.")]
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
    corelm replay record "This movie" --sampler "top_p(p=0.8)" --output rollouts.json
    """
    found = record(corelm.load(model), prompts, sampler=sampler, length=length, n=n, seed=seed)
    write(output, found.to_json())
    with product() as out:
        out.text(f"{int(found.drawn.sum())} tokens of {len(found.texts)} texts\n")


def audit_rollouts(
    file: Annotated[str, typer.Argument(metavar="FILE", help="Rollouts of corelm replay record.")],
    model: Annotated[str, typer.Option(metavar="NAME|PATH", help="The trainer's model.")] = "gpt2",
    draw: Annotated[
        str | None, typer.Option("--picture", metavar="FILE", help="Save a picture: .svg, .png.")
    ] = None,
    fail_if: Annotated[
        list[str] | None,
        typer.Option(metavar="'FIGURE > NUMBER'", help="Exit with 1 where a figure is above it."),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON document.")] = False,
) -> None:
    """Say why a trainer's log-probabilities differ from the recorded ones.

    \b
    corelm replay audit rollouts.json --model gpt2 --fail-if "replayed_outside > 0.01"
    """
    conditions = [condition(text) for text in fail_if or []]
    rollouts, trainer = Rollouts.from_json(read(file)), corelm.load(model)
    found = audit(
        rollouts.chain, trainer_logits(trainer, rollouts), rollouts.tokens, rollouts.logprobs,
        prompt_length=rollouts.prompt_length, mask=rollouts.mask, vocabulary=trainer.vocabulary,
    )  # fmt: skip
    figures = found.figures()
    failed = [text for text, name, limit in conditions if not figure(figures, name) <= limit]
    with product() as out:
        out.json(figures) if json else out.text("\n".join(found.table()) + "\n")
    if draw is not None:
        picture(found, draw)
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
    with product() as out:
        out.text(f"{'chain':<52}{'tokens':>8}{'without':>9}{'with':>8}{'largest':>10}\n")
        for chain in sampler or CHAINS:
            found = own_audit(loaded, chain, prompt=prompt, texts=n, length=length, seed=seed,
                              scorer=trainer)  # fmt: skip
            figures = found.figures()
            largest = abs(found.differences["rounding"]).max()
            out.text(
                f"{chain:<52}{found.tokens:>8}{figures['ratios_outside']:>9.1%}"
                f"{figures['replayed_outside']:>8.1%}{largest:>10.1g}\n"
            )


def show_entropy(
    file: Annotated[str, typer.Argument(metavar="FILE", help="A log of EntropyLog.")],
) -> None:
    """Show the entropy, kept mass and surprisal of rollouts over training."""
    try:
        log = EntropyLog.read(file)
    except (OSError, ValueError, TypeError) as error:
        raise UsageError(f"cannot read {file} as a log of entropies: {error}") from None
    with product() as out:
        out.text("\n".join(log.table()) + "\n")


def verify_receipt(
    file: Annotated[str, typer.Argument(metavar="FILE", help="A receipt.")],
    model: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|PATH",
            help="The same model in another engine, whose checksum is not compared.",
        ),
    ] = None,
    tolerance: Annotated[
        float, typer.Option(help="Nats by which the logits of engines may differ.", min=0)
    ] = TOLERANCE,
    json: Annotated[bool, typer.Option("--json", help="One JSON document.")] = False,
) -> None:
    """Say token by token whether a text was drawn as its receipt states.

    \b
    corelm verify receipt.json
    """
    receipt = Receipt.from_json(read(file))
    loaded = None if model is None else corelm.load(model)
    found = verify(receipt, loaded, tolerance=tolerance)
    with product() as out:
        if json:
            out.json({"tokens": len(receipt.tokens), "findings": [vars(each) for each in found]})
        elif not found:
            out.text(f"all {len(receipt.tokens)} tokens were drawn as stated\n")
        for each in () if json else found:
            out.text(f"token {each.place} ({each.token}): {each.reason}\n")
    if found:
        raise typer.Exit(ExitCode.FAILED)


def condition(text: str) -> tuple[str, str, float]:
    """Return a condition of --fail-if with its figure and limit."""
    match = CONDITION.fullmatch(text.strip())
    try:
        name, limit = match.groups() if match else ("", "")
        return text, name, float(limit)
    except ValueError:
        raise UsageError(f"--fail-if takes 'figure > number', not {text!r}") from None


def figure(figures: Mapping[str, float], name: str) -> float:
    """Return a figure by its name."""
    if name not in figures:
        raise UsageError(f"no figure {name!r} in this audit; it has {', '.join(figures)}")
    return figures[name]


def read(file: str) -> str:
    """Return the text of a file."""
    try:
        return Path(file).read_text("utf-8")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8"
        raise UsageError(f"cannot read {file}: {reason}") from None


def write(file: str, text: str) -> None:
    """Write a text into a file, whole or not at all."""
    from corelm.runs import SafeFile

    SafeFile(file).write(text.encode())


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
