"""Installed plugins: found by their entry points, each able to fail alone."""

from __future__ import annotations

import io
import json
import logging
import re
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import corelm_samplers
import pytest
from programs import python

import corelm
from corelm import hookimpl, renamed
from corelm.errors import AmbiguousNameError, PluginError, UnknownNameError
from corelm.registry.offers import EntryPoint, Source, entry_points
from corelm.runs import Expression, plugins
from corelm.testing import ToyModel

HEAD = "import corelm\n"
SAMPLER = """
class {cls}(corelm.Sampler):
    def __call__(self, logits, context):
        return logits
"""
OFFER = """
@corelm.hookimpl
def corelm_samplers():
    return {offers}
"""


def module(head: str = "", **classes: str) -> str:
    """The source of a plugin that offers samplers: names and their classes."""
    body = "".join(SAMPLER.format(cls=cls) for cls in dict.fromkeys(classes.values()))
    offers = ", ".join(f"'{name}': {cls}" for name, cls in classes.items())
    return HEAD + head + body + OFFER.format(offers="{" + offers + "}")


def new_class(name: str) -> type[corelm.Sampler]:
    """Make a class of samplers that change nothing."""
    return type(name, (corelm.Sampler,), {"__call__": lambda self, logits, context: logits})


def failure(registry: plugins.Registry, distribution: str) -> str:
    """Return the reason why a plugin was set aside."""
    [reason] = [r for source, r in registry.failures.items() if source.distribution == distribution]
    return reason


def names(offers) -> list[str]:
    return [offer.full_name for offer in offers]


@pytest.fixture
def only(monkeypatch):
    """Let no plugin load but corelm's own and those named."""

    def restrict(*distributions: str) -> None:
        monkeypatch.setenv("CORELM_PLUGINS", ",".join(distributions))

    restrict()
    return restrict


@pytest.fixture
def plugin(installed_plugin, only):
    """Install plugins of one module each; no others load but corelm's own."""
    distributions = []

    def install(distribution: str, code: str | bytes = "", *points: str, **classes: str) -> None:
        """Install a module with this code, or one that offers these samplers, by their names."""
        distributions.append(distribution)
        only(*distributions)
        of_points = points or tuple(classes) or (distribution.partition("-")[2],)
        source = code if isinstance(code, bytes) or not classes else module(code, **classes)
        name = distribution.replace("-", "_")
        installed_plugin(distribution, dict.fromkeys(of_points, name), source)

    return install


# Finding


def test_every_file_of_the_built_in_samplers_is_an_entry_point_of_its_name():
    files = {path.stem for path in Path(corelm_samplers.__file__).parent.glob("*.py")} - {
        "__init__"
    }
    offered = {
        o.name
        for o in plugins.Registry().offers("corelm_samplers")
        if o.source.distribution == "corelm"
    }
    assert offered == files


def test_an_installed_sampler_is_found_by_name_and_full_name(plugin):
    plugin("corelm-nucleus", top_q="TopQ")
    assert str(corelm.sampler("top_q")) == "top_q"
    assert str(corelm.sampler("corelm-nucleus:top_q")) == "corelm-nucleus:top_q"
    [offer] = [o for o in plugins.Registry().offers("corelm_samplers") if o.name == "top_q"]
    assert offer.full_name == "corelm-nucleus:top_q"
    assert (offer.source.version, offer.source.value) == ("1.0", "corelm_nucleus")


def test_listing_the_names_imports_nothing(plugin):
    plugin("corelm-bomb", "raise RuntimeError('imported')", "boom")
    registry = plugins.Registry()
    assert "corelm-bomb:boom" in [str(source) for source in registry.sources()]
    assert "corelm_bomb" not in sys.modules
    assert registry.failures == {}


def test_a_name_imports_the_module_of_that_name_alone(plugin):
    plugin("corelm-one", one="One")
    plugin("corelm-two", two="Two")
    plugins.Registry().sampler("one")
    assert "corelm_one" in sys.modules
    assert "corelm_two" not in sys.modules


def test_a_full_name_imports_nothing_of_others(plugin):
    plugin("corelm-one", "", "plugin", shared="One")
    plugin("corelm-two", "", "plugin", shared="Two")
    assert plugins.Registry().sampler("corelm-one:shared").__name__ == "One"
    assert "corelm_two" not in sys.modules


def test_two_entry_points_may_name_one_module(plugin):
    plugin("corelm-pair", "", "first", "second", first="A", second="B", third="C")
    registry = plugins.Registry()
    assert registry.sampler("first").__name__ == "A"
    assert registry.sampler("second").__name__ == "B"
    assert registry.sampler("third").__name__ == "C"
    mine = [
        name for name in names(registry.offers("corelm_samplers")) if name.startswith("corelm-pair")
    ]
    assert mine == ["corelm-pair:first", "corelm-pair:second", "corelm-pair:third"]
    assert "corelm-pair" not in {source.distribution for source in registry.failures}


def test_an_unknown_name_comes_with_a_suggestion_and_the_known_names(only):
    with pytest.raises(UnknownNameError) as caught:
        plugins.Registry().sampler("temprature")
    message = str(caught.value)
    assert message.startswith(
        "there is no sampler 'temprature'; did you mean 'temperature'? (there"
    )
    assert "greedy" in message
    with pytest.raises(UnknownNameError, match="there is no decoder 'x'"):
        plugins.Registry().decoder("x")
    with pytest.raises(UnknownNameError, match="there is no model 'x'"):
        plugins.Registry().find("corelm_models", "x")


def test_a_message_lists_the_first_of_20_000_names(plugin):
    many = OFFER.format(offers="{f'other_{i}': One for i in range(20_000)}")
    code = HEAD + SAMPLER.format(cls="One") + many
    plugin("corelm-many", code)
    with pytest.raises(UnknownNameError) as caught:
        plugins.Registry().sampler("othr_19999")
    message = str(caught.value)
    assert message.startswith("there is no sampler 'othr_19999'; did you mean 'other_19999'? (")
    assert re.search(r" and 19,8\d\d more\)$", message)
    assert len(message) < 4000


def test_an_unknown_name_comes_with_every_known_name():
    registry = plugins.Registry(points=[])
    with pytest.raises(UnknownNameError) as caught:
        registry.find("corelm_models", "x")
    assert str(caught.value) == "there is no model 'x' (there are: none)"
    models = hookimpl(lambda: {"second": ToyModel, "first": ToyModel})
    registry.register(SimpleNamespace(corelm_models=models))
    with pytest.raises(UnknownNameError) as caught:
        registry.find("corelm_models", "x")
    assert str(caught.value) == "there is no model 'x' (there are: first, second)"


def test_the_offer_of_a_class_is_found_by_loading_its_plugin_alone(plugin):
    plugin("corelm-one", one="One")
    registry = plugins.Registry()
    offer = registry.offer_of(type(corelm.sampler("greedy")))
    assert offer.full_name == "corelm:greedy"
    assert "corelm_one" not in sys.modules


def test_a_class_made_in_this_process_has_no_offer():
    mine = new_class("Mine")
    assert plugins.Registry(points=[]).offer_of(mine) is None


@pytest.mark.parametrize("name", ["", ":", "corelm:", ":greedy-not", "nobody:greedy", "a:b:c"])
def test_odd_names_are_unknown(name, only):
    with pytest.raises(UnknownNameError):
        plugins.Registry().sampler(name)


def test_a_plugin_can_be_registered_by_hand():
    registry, mine = plugins.Registry(points=[]), new_class("Mine")
    registry.register(SimpleNamespace(corelm_samplers=hookimpl(lambda: {"mine": mine})))
    assert registry.sampler("mine") is mine
    assert names(registry.offers("corelm_samplers")) == ["this process:mine"]


def test_a_plugin_registered_by_hand_says_where_it_comes_from():
    registry = plugins.Registry(points=[])
    module = ModuleType("mine")
    module.corelm_models = hookimpl(lambda: {"toy": ToyModel})
    registry.register(module, "notebook")
    registry.register(SimpleNamespace(corelm_models=hookimpl(lambda: {"second": ToyModel})))
    assert [offer.source for offer in registry.offers("corelm_models")] == [
        Source("this process", "", "SimpleNamespace"),
        Source("notebook", "", "mine"),
    ]


def test_a_bad_plugin_cannot_be_registered_by_hand():
    registry = plugins.Registry(points=[])
    with pytest.raises(PluginError, match=r"not a sampler: x is 5, not a class"):
        registry.register(SimpleNamespace(corelm_samplers=hookimpl(lambda: {"x": 5})))
    assert registry.offers("corelm_samplers") == []


# 1. A plugin that cannot be imported


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("raise Exception('two\\nlines')", "Exception: two"),
        ("raise Exception('\\x1b[2J\\x07bell')", "Exception: [2Jbell"),
        (b"\xff\xfe", "SyntaxError: "),
        ("class Deep:\n  def __init__(self): Deep()\nDeep()", "RecursionError: "),
        ("class Stop(BaseException): pass\nraise Stop('now')", "Stop: now"),
        ("raise GeneratorExit('odd')", "GeneratorExit"),
        (
            "class Mute(Exception):\n  def __str__(self): 1 / 0\nraise Mute",
            "Mute: (no message: ZeroDivisionError in its __str__)",
        ),
        (
            "import corelm\nclass Mute(corelm.CorelmError):\n  def __str__(self): 1 / 0\n"
            "raise Mute",
            "(no message: ZeroDivisionError in its __str__)",
        ),
    ],
)
def test_one_that_cannot_be_imported_is_set_aside(plugin, caplog, code, reason):
    plugin("corelm-bad", code)
    plugin("corelm-good", good="Good")
    registry = plugins.Registry()
    with caplog.at_level(logging.WARNING, "corelm"):
        assert "corelm-good:good" in names(registry.offers("corelm_samplers"))
    assert failure(registry, "corelm-bad").startswith(reason)
    warnings = [r.message for r in caplog.records if "corelm-bad" in r.message]
    assert warnings == [f"plugin corelm-bad:bad was left out: {failure(registry, 'corelm-bad')}"]
    assert "\n" not in warnings[0]


def test_it_is_tried_once(plugin, caplog):
    plugin("corelm-bad", "1 / 0")
    registry = plugins.Registry()
    with caplog.at_level(logging.WARNING, "corelm"):
        for _ in range(3):
            registry.offers("corelm_samplers")
            registry.offers("corelm_models")
    assert len([r for r in caplog.records if "corelm-bad" in r.message]) == 1


def test_asking_for_a_failed_plugin_gives_the_reason(plugin):
    plugin("corelm-bad", "1 / 0")
    with pytest.raises(UnknownNameError) as caught:
        plugins.Registry().sampler("bad")
    assert str(caught.value) == (
        "the sampler 'bad' cannot be used: plugin corelm-bad:bad failed: "
        "ZeroDivisionError: division by zero"
    )
    with pytest.raises(UnknownNameError, match="the sampler 'corelm-bad:bad' cannot be used: pl"):
        plugins.Registry().sampler("corelm-bad:bad")


def test_an_interruption_is_not_a_failure_of_the_plugin(plugin, caplog, monkeypatch):
    """It is passed on. A plugin that sleeps is named, before the interruption and after it."""
    monkeypatch.setattr("corelm.registry.registry.SLOW", 0)
    plugin("corelm-bad", "import time\ntime.sleep(0.3)\nraise KeyboardInterrupt")
    with pytest.raises(KeyboardInterrupt):
        plugins.Registry([one for one in entry_points("corelm") if one.name == "bad"]).load_all()
    interrupted = "interrupted while plugin corelm-bad:bad was loaded"
    assert caplog.messages == ["still importing plugin corelm-bad:bad", interrupted]


@pytest.mark.parametrize("points", ["", "[corelm.samplers]\ntop_cube = top_cube\n"])
def test_an_unknown_name_comes_with_packages_that_lack_an_entry_point(
    tmp_path, monkeypatch, points
):
    info = tmp_path / "corelm_top_cube-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Name: corelm-top-cube\nRequires-Dist: corelm>=0.1,<0.2\n")
    (info / "entry_points.txt").write_text(points)
    monkeypatch.syspath_prepend(tmp_path)
    lacking = r'corelm-top-cube.* lacks the line top_cube = "MODULE" below \[project.entry-points'
    with pytest.raises(UnknownNameError, match=lacking):
        plugins.Registry().sampler("top_cube")


# 2. A plugin that offers the wrong kind of thing


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (
            "",
            "not a plugin: no function in it is marked with @corelm.hookimpl; the hooks are",
        ),
        (
            "class Name(str):\n    def __repr__(self): raise SystemExit(5)\n"
            "    __str__ = __repr__\n" + OFFER.format(offers="{Name('x'): corelm.Chain}"),
            "the name a Name (SystemExit in its __repr__) cannot be typed; use letters",
        ),
        (
            "@corelm.hookimpl\ndef corelm_decoders(): return {'x': corelm.Chain}\n",
            "not a decoder: Chain does not inherit corelm.Decoder",
        ),
        (
            "class Mute:\n    def __repr__(self): 1 / 0\n" + OFFER.format(offers="Mute()"),
            "not a plugin: corelm_samplers returned a Mute (ZeroDivisionError in its __repr__), no",
        ),
    ],
)
def test_one_that_offers_the_wrong_thing_is_set_aside(plugin, code, reason):
    plugin("corelm-bad", HEAD + code)
    plugin("corelm-good", good="Good")
    registry = plugins.Registry()
    assert "corelm-good:good" in names(registry.offers("corelm_samplers"))
    assert not any(
        name.startswith("corelm-bad") for name in names(registry.offers("corelm_samplers"))
    )
    assert failure(registry, "corelm-bad").startswith(reason)


def test_a_misspelt_hook_names_those_there_are(plugin):
    plugin("corelm-bad", HEAD + "@corelm.hookimpl\ndef corelm_sampler(): ...\n")
    registry = plugins.Registry()
    registry.load_all()
    assert failure(registry, "corelm-bad").endswith(
        "the hooks are corelm_samplers, corelm_decoders, corelm_models, corelm_metrics, "
        "corelm_commands, corelm_next_token"
    )


def test_a_plugin_that_was_set_aside_observes_nothing(plugin):
    code = HEAD + (
        "@corelm.hookimpl\ndef corelm_next_token(step): raise SystemExit('seen')\n"
        "@corelm.hookimpl\ndef corelm_samplers(): return {'x': 5}\n"
    )
    plugin("corelm-bad", code, "corelm_next_token")
    registry = plugins.Registry()
    registry.load_observers()
    assert "not a sampler" in failure(registry, "corelm-bad")
    registry.observe(None)


# 3. Two plugins with one name


def test_full_names_distinguish_two_plugins_with_one_name(plugin):
    plugin("corelm-one", same="One")
    plugin("corelm-two", same="Two")
    with pytest.raises(AmbiguousNameError) as caught:
        corelm.sampler("same")
    assert str(caught.value) == (
        "2 plugins offer 'same'; say which one: corelm-one:same or corelm-two:same"
    )
    assert type(corelm.sampler("corelm-one:same")).__name__ == "One"
    assert type(corelm.sampler("corelm-two:same")).__name__ == "Two"
    mine = [o.full_name for o in plugins.Registry().offers("corelm_samplers") if o.name == "same"]
    assert mine == ["corelm-one:same", "corelm-two:same"]


def test_the_expression_of_a_full_name_is_read_back(plugin):
    plugin("corelm-one", same="One")
    plugin("corelm-two", same="Two")
    chain = corelm.sampler("corelm-one:same | corelm-two:same")
    assert str(chain) == "corelm-one:same | corelm-two:same"
    assert corelm.sampler(str(chain)) == chain


def test_a_built_in_keeps_its_name_with_one_warning(plugin, caplog):
    plugin("corelm-rival", greedy="Rival")
    installed = plugins.Registry()
    for _ in range(2):
        assert installed.sampler("greedy").__module__ == "corelm_samplers.greedy"
    assert installed.sampler("corelm-rival:greedy").__name__ == "Rival"
    assert caplog.messages == ["greedy is corelm's own; the other is corelm-rival:greedy"]


def test_two_names_inside_others_are_ambiguous_too(plugin):
    plugin("corelm-one", "", "one", hidden="One")
    plugin("corelm-two", "", "two", hidden="Two")
    with pytest.raises(AmbiguousNameError, match="corelm-one:hidden or corelm-two:hidden"):
        plugins.Registry().sampler("hidden")


def test_looking_a_sampler_up_by_its_full_name_leaves_the_class_as_it_is(only):
    made_before = corelm.sampler("temperature", t=0.5)
    by_full_name = corelm.sampler("corelm:temperature(t=0.5)")
    assert str(made_before) == str(type(made_before)(t=0.5)) == "temperature(t=0.5)"
    assert str(by_full_name) == "corelm:temperature(t=0.5)"
    assert type(made_before).name == "temperature"
    assert by_full_name == made_before
    assert hash(by_full_name) == hash(made_before)
    assert str(by_full_name | made_before) == "corelm:temperature(t=0.5) | temperature(t=0.5)"


def test_a_class_has_the_first_name_that_it_is_registered_under():
    registry = plugins.Registry(points=[])
    mine = new_class("Mine")
    heir = type("Heir", (mine,), {})
    assert str(mine()) == "mine"
    offers = {"our": mine, "other": mine, "heir": heir}
    registry.register(SimpleNamespace(corelm_samplers=hookimpl(lambda: offers)))
    assert str(mine()) == "our"
    assert registry.sampler("other") is mine
    assert str(mine()) == "our"
    assert str(heir()) == "heir"
    assert str(renamed(mine(), "other")) == "other"
    registry.register(SimpleNamespace(corelm_samplers=hookimpl(lambda: {"third": mine})), "again")
    assert str(mine()) == "our"
    assert registry.offer_of(mine).full_name == "this process:our"


# A plugin that offers names of corelm's own

RIVAL = (
    HEAD
    + """
class Rival(corelm.Sampler):
    def __call__(self, logits, context):
        return logits
class Decoder(corelm.Decoder):
    def __call__(self, task):
        return iter(())
@corelm.hookimpl
def corelm_samplers(): return {'temperature': Rival, 'top_k': Rival, 'stochastic': Rival}
@corelm.hookimpl
def corelm_decoders(): return {'ancestral': Decoder}
@corelm.hookimpl
def corelm_models(): return {'imdb': Rival}
"""
)


@pytest.fixture
def rival(installed_plugin, only):
    only("corelm-rival")
    names = ("temperature", "top_k", "stochastic", "ancestral", "imdb")
    installed_plugin("corelm-rival", dict.fromkeys(names, "corelm_rival"), RIVAL)


def test_models_and_decoders_keep_their_names_despite_a_rival(rival):
    installed = plugins.Registry()
    assert installed.decoder("ancestral") is corelm.Ancestral
    assert installed.find("corelm_models", "imdb").full_name == "corelm:imdb"
    assert installed.decoder("corelm-rival:ancestral").__name__ == "Decoder"


@pytest.mark.packages
def test_presets_use_corelms_own_samplers_despite_a_rival(rival):
    chain = corelm.preset("keras-hub")
    assert {type(stage).__module__.split(".")[0] for stage in chain.stages} == {"corelm_samplers"}
    # what is printed can be read back
    assert str(chain) == "temperature(t=1.0) | top_k(k=5)"
    assert corelm.sampler(str(chain)) == chain


def test_built_in_samplers_are_called_by_short_names_where_these_are_clear(only):
    chain = Expression.built_in("temperature(t=0.5) | top_k(k=3)")
    assert str(chain) == "temperature(t=0.5) | top_k(k=3)"
    assert Expression.built_in("corelm:temperature(t=0.5)") == chain.stages[0]
    with pytest.raises(UnknownNameError, match="there is no sampler 'corelm:mine'"):
        Expression.built_in("mine")


@pytest.mark.packages
def test_a_report_uses_corelms_own_samplers_despite_a_rival(rival):
    report = corelm.compare(ToyModel(), prompts="the", n=2, length=4)
    rows = report.to_dict()["samplers"]
    assert [row["sampler"] for row in rows][:2] == ["greedy", "temperature(t=0.2)"]
    assert not any(row["error"] for row in rows)
    assert {row["plugin"]["distribution"] for row in rows} == {"corelm"}


@pytest.mark.slow
def test_the_commands_use_corelms_own_names_despite_a_rival(rival):
    command = ("-W", "error", "-m", "corelm", "sample", "--length", "3", "--json")
    done = python(*command, "--seed", "1")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["sampler"] == "temperature(t=0.7)"
    assert document["model"] == "imdb"
    for words in (["--sampler", "top_k"], ["--decoder", "ancestral"], ["--model", "imdb"]):
        done = python(*command, *words)
        assert done.returncode == 0, done.stderr
        assert f"{words[1]} is corelm's own; the other is corelm-rival:" in done.stderr


# 4. Made for another version of the contract


@pytest.mark.parametrize("version", [0, 2, 99])
def test_one_made_for_another_version_is_refused_with_both(plugin, version):
    code = module(f"CORELM_API_VERSION = {version}\n", old="Old")
    plugin("corelm-old", code)
    registry = plugins.Registry()
    registry.load_all()
    assert failure(registry, "corelm-old") == (
        f"made for version {version} of the plugin contract, this corelm has version 1; "
        "install a release of the two that match"
    )


def test_one_made_for_this_version_is_welcome(plugin):
    plugin("corelm-new", "CORELM_API_VERSION = 1\n", new="New")
    assert plugins.Registry().sampler("new").__name__ == "New"


# 5. Prints at import


CHATTY = "print('hello from the plugin')\n"


def test_the_output_of_a_plugin_goes_to_stderr(plugin, capfd):
    code = module(CHATTY, chatty="Chatty").replace("    return {", f"    {CHATTY}    return {{")
    plugin("corelm-chatty", code)
    corelm.sampler("chatty")
    printed = capfd.readouterr()
    assert printed.out == ""
    assert printed.err == "hello from the plugin\n" * 2


@pytest.mark.parametrize(
    "code",
    [
        "import os\nos.write(1, b'loud\\n')\n",
        "import sys\nsys.__stdout__.write('loud\\n')\n",
        "import sys\nprint('loud', file=sys.__stdout__, flush=True)\n",
        "import subprocess\nsubprocess.run(['echo', 'loud'])\n",
        "import os\n@corelm.hookimpl\ndef corelm_models(): return os.write(1, b'loud\\n') and {}\n",
    ],
)
def test_no_way_of_printing_while_loading_reaches_stdout(plugin, code):
    plugin("corelm-loud", code, loud="Loud")
    code = (
        "import corelm, sys\nprint('before')\n"
        "print(corelm.sampler('loud'))\nprint('after', flush=True)\n"
    )
    done = python("-W", "error", "-c", code)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "before\nloud\nafter\n"
    assert done.stderr.count("loud") == 1


def test_without_a_standard_output_plugins_load(plugin):
    plugin("corelm-one", one="One")
    code = "import corelm, os, sys\nos.close(1)\nsys.stderr.write(str(corelm.sampler('one')))"
    done = python("-W", "error", "-c", code)
    assert done.stderr == "one"


class Broken(io.StringIO):
    def flush(self):
        raise OSError("no space left")


CLOSED = io.StringIO()
CLOSED.close()


@pytest.mark.parametrize("stream", [None, Broken(), CLOSED])
def test_a_plugin_loads_where_standard_output_cannot_be_flushed(plugin, monkeypatch, stream):
    plugin("corelm-one", one="One")
    registry = plugins.Registry()
    with monkeypatch.context() as patch:
        patch.setattr(sys, "__stdout__", stream)
        assert registry.sampler("one").__name__ == "One"
    assert registry.failures == {}


# The two settings


def test_the_setting_restricts_what_loads(plugin, monkeypatch):
    plugin("corelm-one", one="One")
    plugin("corelm-two", two="Two")

    def found(setting: str) -> set[str]:
        monkeypatch.setenv("CORELM_PLUGINS", setting)
        return {s.entry_point for s in plugins.Registry().sources()} & {"one", "two", "greedy"}

    assert found("") == {"greedy"}
    assert found("corelm-one") == {"one", "greedy"}
    assert found("one, corelm-two") == {"one", "two", "greedy"}
    assert found("corelm-two:two") == {"two", "greedy"}
    assert found("corelm-two:one") == {"greedy"}
    monkeypatch.delenv("CORELM_PLUGINS")
    assert {s.entry_point for s in plugins.Registry().sources()} >= {"one", "two", "greedy"}


@pytest.mark.parametrize(("setting", "strict"), [("1", True), ("0", False), ("", False)])
def test_strict_makes_a_failure_fatal(plugin, monkeypatch, setting, strict):
    plugin("corelm-bad", "1 / 0")
    monkeypatch.setenv("CORELM_STRICT_PLUGINS", setting)
    registry = plugins.Registry()
    if strict:
        message = "plugin corelm-bad:bad was left out: ZeroDivisionError: division by zero"
        with pytest.raises(PluginError, match=message):
            registry.offers("corelm_samplers")
    else:
        registry.offers("corelm_samplers")
    assert failure(registry, "corelm-bad") == "ZeroDivisionError: division by zero"


def test_strict_mode_is_also_an_argument():
    point = EntryPoint("bad", "a_module_that_is_not_there", "corelm")
    assert plugins.Registry([point], strict=False).offers("corelm_samplers") == []
    with pytest.raises(PluginError, match="unknown:bad was left out: ModuleNotFoundError"):
        plugins.Registry([point], strict=True).offers("corelm_samplers")


# Observers

OBSERVER = HEAD + (
    "seen = []\n"
    "@corelm.hookimpl\n"
    "def corelm_next_token(step):\n"
    "    seen.append((step.position, step.tokens.tolist()))\n"
)


def test_an_observer_sees_every_step(plugin):
    plugin("corelm-watch", OBSERVER, "corelm_next_token")
    corelm.generate(ToyModel(), "the", sampler="greedy", length=3, n=2, seed=1)
    assert sys.modules["corelm_watch"].seen == [(0, [4, 4]), (1, [9, 9]), (2, [7, 7])]


def test_other_plugins_are_not_loaded_to_observe(plugin):
    plugin("corelm-one", one="One")
    corelm.generate(ToyModel(), "the", sampler="greedy", length=1, seed=1)
    assert "corelm_one" not in sys.modules


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("raise SystemExit('stop')", "SystemExit: stop"),
        ("step.tokens[0] = 3", "ValueError: assignment destination is read-only"),
    ],
)
def test_an_observer_that_raises_is_set_aside(plugin, caplog, fault, reason):
    plugin("corelm-watch", OBSERVER, "corelm_next_token")
    code = OBSERVER + f"    if step.position == 1: {fault}\n"
    plugin("corelm-bad", code, "corelm_next_token")
    with caplog.at_level(logging.WARNING, "corelm"):
        [text] = corelm.generate(ToyModel(), "the", sampler="greedy", length=4, seed=1)
    assert text.text == " cat sat on the"
    assert len(sys.modules["corelm_bad"].seen) == 2
    assert len(sys.modules["corelm_watch"].seen) == 4
    assert [record.message for record in caplog.records] == [
        f"plugin corelm-bad:corelm_next_token was left out: at step 1: {reason}"
    ]


def test_it_keeps_the_samplers_that_it_offers(plugin):
    code = module(both="Both") + "@corelm.hookimpl\ndef corelm_next_token(step): 1 / 0\n"
    plugin("corelm-both", code, "corelm_next_token")
    corelm.generate(ToyModel(), "the", sampler="both", length=2, seed=1)
    assert str(corelm.sampler("both")) == "both"


def test_in_strict_mode_it_is_fatal(plugin, monkeypatch):
    monkeypatch.setenv("CORELM_STRICT_PLUGINS", "1")
    code = HEAD + "@corelm.hookimpl\ndef corelm_next_token(step): 1 / 0\n"
    plugin("corelm-bad", code, "corelm_next_token")
    with pytest.raises(PluginError, match="corelm_next_token was left out: at step 0: ZeroDivis"):
        corelm.generate(ToyModel(), "the", sampler="greedy", seed=1)


def test_an_observer_may_take_no_argument(plugin):
    code = HEAD + "seen = []\n@corelm.hookimpl\ndef corelm_next_token(): seen.append(1)\n"
    plugin("corelm-watch", code, "corelm_next_token")
    corelm.generate(ToyModel(), "the", sampler="greedy", length=3, seed=1)
    assert sys.modules["corelm_watch"].seen == [1, 1, 1]


def test_the_output_of_an_observer_goes_to_stderr(plugin, capfd):
    code = HEAD + "@corelm.hookimpl\ndef corelm_next_token(step): print(step.position)\n"
    plugin("corelm-watch", code, "corelm_next_token")
    corelm.generate(ToyModel(), "the", sampler="greedy", length=2, seed=1)
    assert capfd.readouterr() == ("", "0\n1\n")
