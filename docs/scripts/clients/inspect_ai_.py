"""Ask with Inspect."""

import json

from asked import (
    FUNCTION,
    KEY,
    LENGTH,
    MODEL,
    PROMPT,
    SAMPLER,
    SCHEMA,
    SEED,
    TEMPERATURE,
    URL,
    tried,
)
from inspect_ai.model import GenerateConfig, ResponseSchema, get_model
from inspect_ai.tool import ToolInfo
from inspect_ai.util import JSONSchema

asked = {"seed": SEED, "max_tokens": LENGTH}


async def generate(tools=(), tool_choice=None, **config):
    model = get_model(f"openai-api/corelm/{MODEL}", base_url=URL, api_key=KEY, memoize=False)
    settings = GenerateConfig(**asked, **{"temperature": TEMPERATURE, **config})
    return await model.generate(PROMPT, tools=list(tools), tool_choice=tool_choice, config=settings)


async def chat():
    return (await generate()).completion


async def tools():
    tool = ToolInfo(**{**FUNCTION, "parameters": SCHEMA})
    return (await generate([tool], "any")).message.tool_calls[0].arguments


async def response_format():
    schema = ResponseSchema(name="film", json_schema=JSONSchema(**SCHEMA), strict=True)
    return json.loads((await generate(response_schema=schema)).completion)


async def sampler():
    return (await generate(temperature=None, extra_body=SAMPLER)).completion


tried(chat, tools, response_format, sampler)
