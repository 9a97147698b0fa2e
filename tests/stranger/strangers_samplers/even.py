"""A mask."""

import numpy as np

import corelm


class Even(corelm.Mask):
    """Allow the tokens with an even id."""

    reads = {"vocabulary"}

    def allowed(self, context):
        return np.tile(np.arange(context.vocabulary_size) % 2 == 0, (context.batch, 1))


@corelm.hookimpl
def corelm_samplers():
    return {"even": Even}
