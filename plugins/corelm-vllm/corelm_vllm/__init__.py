"""corelm's samplers in vLLM, chosen by each request.

Installing the package is enough: vLLM finds `processor.CorelmLogitsProcessor` by its entry point.
"""

__all__ = ["CheckRequests"]


def __getattr__(name):
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from corelm_vllm.processor import CheckRequests  # imports vLLM

    return CheckRequests
