"""Ask with LlamaIndex."""

from typing import Annotated

from asked import KEY, LENGTH, MODEL, PROMPT, SAMPLER, SEED, TEMPERATURE, URL, tried
from llama_index.core.llms import ChatMessage
from llama_index.core.tools import FunctionTool
from llama_index.llms.openai_like import OpenAILike
from pydantic import BaseModel, Field

MESSAGE = [ChatMessage(role="user", content=PROMPT)]


class Film(BaseModel):
    """A film."""

    stars: int = Field(ge=1, le=5)


def model(is_chat=True, **more):
    return OpenAILike(
        model=MODEL, api_base=URL, api_key=KEY, max_tokens=LENGTH, is_chat_model=is_chat,
        is_function_calling_model=True, temperature=TEMPERATURE, context_window=256,
        additional_kwargs={"seed": SEED, **more},
    )  # fmt: skip


def rate(stars: Annotated[int, Field(ge=1, le=5)]) -> int:
    """Rate a film."""
    return stars


def completion():
    return model(is_chat=False).complete(PROMPT).text


def chat():
    return model().chat(MESSAGE).message.content


def stream():
    return "".join(event.delta or "" for event in model().stream_chat(MESSAGE))


def tools():
    tool = FunctionTool.from_defaults(rate)
    answer = model().chat_with_tools([tool], user_msg=PROMPT, tool_required=True)
    return model().get_tool_calls_from_response(answer)[0].tool_kwargs


def response_format():
    structured = OpenAILike(
        model=MODEL, api_base=URL, api_key=KEY, max_tokens=LENGTH, is_chat_model=True,
        should_use_structured_outputs=True, temperature=TEMPERATURE,
        additional_kwargs={"seed": SEED},
    )  # fmt: skip
    return structured.as_structured_llm(Film).chat(MESSAGE).raw.model_dump()


def sampler():
    without = {"temperature": None}  # it always sends one, which the sampler excludes
    return model(extra_body=SAMPLER | without).chat(MESSAGE).message.content


tried(completion, chat, stream, tools, response_format, sampler)
