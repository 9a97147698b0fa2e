"""Chat templates: rendered in a sandbox, with bounds."""

from __future__ import annotations

import pytest

from corelm.abilities import FullVocabulary
from corelm.errors import UsageError
from corelm.interop import ChatTemplate, vocabulary_of

pytest.importorskip("jinja2", reason='pip install "corelm[report]"')

CHATML = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
MESSAGES = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "{{ messages }} {% raw %}"},  # no template, but text
]


def test_messages_become_one_text() -> None:
    assert ChatTemplate(CHATML).render(MESSAGES) == (
        "<|im_start|>system\nBe brief.<|im_end|>\n"
        "<|im_start|>user\n{{ messages }} {% raw %}<|im_end|>\n"
        "<|im_start|>assistant\n"
    )


def test_a_template_may_refuse_messages() -> None:
    template = ChatTemplate("{{ raise_exception('roles must alternate') }}")
    with pytest.raises(UsageError, match="cannot write these messages: roles must alternate"):
        template.render(MESSAGES)


def test_the_functions_of_templates() -> None:
    template = ChatTemplate(
        "{{ bos_token }}{% for i in range(3) %}{% if i == 2 %}{% break %}{% endif %}{{ i }}"
        "{% endfor %}{{ messages[0] | tojson }}{{ strftime_now('%Y') | length }}",
        {"bos_token": "<s>"},
    )
    assert template.render([{"role": "user"}]) == '<s>01{"role": "user"}4'


@pytest.mark.parametrize(
    "source",
    [
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ messages.__class__.__init__.__globals__ }}",
        "{{ raise_exception.__globals__.os }}",
        "{{ cycler.__init__.__globals__.os.popen('id').read() }}",
        "{{ self.__init__.__globals__ }}",
        "{{ messages.append(1) }}",
        "{% for a in range(1000) %}{% for b in range(1000) %}{% endfor %}{% endfor %}",
        "{{ range(10000000000) }}",
        "{{ 'a' * 10000000000 }}",
        "{{ 10 ** 10000000 }}",
        "{{ '%1000000000d' % 1 }}",
        "{% for a in range(90000) %}" + "x" * 100 + "{% endfor %}",
        "{% include '/etc/passwd' %}",
        "{% import 'os' as os %}",
        "{{ nothing.of_it }}",
        "{% set ns = namespace(x='aaaaaaaa') %}"
        "{% for i in range(40) %}{% set ns.x = ns.x + ns.x %}{% endfor %}",
        "{{ 'aaaaaaaaaa' | replace('a', 'a' * 99999) | replace('a', 'a' * 99999) }}",
        pytest.param(  # it ends by the limit on time, as in test_bounded_calls.py
            "{% for a in messages * 9999 %}{% for b in messages * 9999 %}{% endfor %}{% endfor %}",
            marks=pytest.mark.slow,
        ),
        "{{ '{:>9999999999}'.format(1) }}",
    ],
)
def test_a_template_cannot_leave_its_sandbox_or_its_bounds(source: str) -> None:
    with pytest.raises(UsageError, match="the chat template cannot"):
        ChatTemplate(source).render(MESSAGES)


def test_a_template_that_is_none() -> None:
    with pytest.raises(UsageError, match="the chat template cannot be read: TemplateSyntaxError"):
        ChatTemplate("{% for")
    with pytest.raises(UsageError, match="at most 262,144 characters"):
        ChatTemplate("a" * 300_000)


@pytest.mark.engines("transformers")
def test_a_tokenizers_template_is_rendered_as_transformers_does() -> None:
    from corelm.interop.testing import tiny_tokenizer

    tokenizer = tiny_tokenizer()
    vocabulary = vocabulary_of(tokenizer)
    with pytest.raises(UsageError, match="this model has no chat template"):
        FullVocabulary(vocabulary).render_chat(MESSAGES)
    tokenizer.chat_template = "{{ bos_token }}" + CHATML
    assert hasattr(vocabulary, "render_chat")
    assert FullVocabulary(vocabulary).render_chat(MESSAGES) == tokenizer.apply_chat_template(
        MESSAGES, tokenize=False, add_generation_prompt=True
    )
