"""Watermarks: samplers that mark a text with a secret key, and a detector that finds the mark."""

from corelm_watermark.detection import Detection, detect
from corelm_watermark.green_list import GreenList
from corelm_watermark.gumbel_max import GumbelMax
from corelm_watermark.synthid import SynthID

__all__ = ["Detection", "GreenList", "GumbelMax", "SynthID", "detect"]
