"""Diverse beam search: likely texts that differ from each other."""

import numpy as np
from corelm_beam import check_count, search

from corelm import Decoder, hookimpl, param


class DiverseBeam(Decoder):
    """Search likely texts in groups, each of which avoids the tokens of the groups before it.

    Each group is a beam search in which a token costs `diversity` nats more for every beginning of
    an earlier group that has it at the same position. Text 0 is the best of the first group, text 1
    the best of the second, and so on; after the last group follow the second best. No random
    numbers are used.

    Source: Vijayakumar et al. 2016, Diverse beam search: decoding diverse solutions from neural
    sequence models, arXiv 1610.02424, with its Hamming diversity.

    Example:
        >>> import corelm
        >>> from corelm.testing import ToyModel
        >>> options = dict(sampler="stochastic", length=3, n=3, decoder=DiverseBeam(diversity=1))
        >>> [text.text for text in corelm.generate(ToyModel(), "the", **options)]
        [' cat sat on', ' dog', ' mat']
    """

    is_deterministic = True

    groups: int = param(4, "groups of beginnings", ge=1)
    width: int = param(1, "beginnings kept in each group at each position", ge=1)
    diversity: float = param(
        0.5, "nats that a token costs more for each beginning of an earlier group that has it", ge=0
    )
    length_penalty: float = param(
        1.0, "costs are divided by the length to this power; 0 favours short texts", ge=0
    )

    def __call__(self, task):
        """Yield the steps of the texts, position by position, once the search is done."""
        if not task:
            return
        check_count(task, self.groups * self.width, "groups * width")
        ranks = task.random_stream.samples
        groups = self._search(task.with_samples([0]), min(self.groups, max(ranks) + 1))
        places = [divmod(i, self.groups) for i in ranks]
        yield from task.replay(
            [groups[group][place] if place < len(groups[group]) else [] for place, group in places]
        )

    def _search(self, task, count):
        """Return the texts of each of the first groups, the best first."""
        vocabulary = len(task.model.vocabulary)
        groups, taken = [], [[] for _ in range(task.length)]  # tokens at each position

        def penalties(position):
            return self.diversity * np.bincount(taken[position], minlength=vocabulary)

        # No group depends on a later one, so each is searched to its end before the next begins.
        for _ in range(count):
            texts, chosen = search(task, self.width, self.length_penalty, penalties)
            groups.append(texts)
            for earlier, tokens in zip(taken, chosen, strict=False):
                earlier.extend(tokens.tolist())
        return groups


@hookimpl
def corelm_decoders():
    return {"diverse_beam": DiverseBeam}
