"""Many clients at once: a small size of serve_load.py."""

import pytest

pytest.importorskip("httpx2", reason="pip install httpx2")
pytest.importorskip("psutil", reason="pip install psutil")

import serve_load


@pytest.mark.slow
def test_every_text_is_the_one_that_corelm_writes_alone():
    tally, _, metrics = serve_load.run(clients=12, requests=4)
    assert len(tally.texts) + tally.left == 48
    assert len(tally.texts) > 40
    assert serve_load.wrong(tally.texts) == []
    assert 'corelm_running_rows{model="imdb"} 0.0' in metrics
    assert 'corelm_waiting_jobs{model="imdb"} 0.0' in metrics
    assert 'status="500"' not in metrics
