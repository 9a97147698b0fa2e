"""The cache of units: what it stores survives, and what is damaged is measured again."""

from __future__ import annotations

import json
import random
import sqlite3

from corelm_study.unit_cache import UnitCache


def test_a_result_survives_and_is_counted(tmp_path):
    file = tmp_path / "folder" / "units.sqlite"
    with UnitCache(file) as cache:
        assert cache.get("a") is None
        cache.put("a", '"é"')
        assert cache.get("a") == '"é"'  # the run's own result, not one of an earlier run
        assert (cache.hits, cache.misses) == (0, 1)
    with UnitCache(file) as cache:
        assert cache.get("a") == '"é"'
        assert (cache.hits, cache.misses) == (1, 0)


def test_a_damaged_file_is_started_again(tmp_path, caplog):
    file = tmp_path / "units.sqlite"
    file.write_bytes(b"no database" * 100)
    with UnitCache(file) as cache:
        cache.put("a", "1")
        assert cache.get("a") == "1"
    assert "is damaged; it is started again" in caplog.text


def test_a_damaged_result_is_not_read(tmp_path):
    file = tmp_path / "units.sqlite"
    with UnitCache(file) as cache:
        cache.put("a", "1")
    with sqlite3.connect(file) as database:
        database.execute("UPDATE results SET result = ?", (b"torn",))
    database.close()
    with UnitCache(file) as cache:
        assert cache.get("a") is None


def test_without_a_place_it_stores_nothing(tmp_path, caplog):
    (tmp_path / "file").touch()
    with UnitCache(tmp_path / "file" / "units.sqlite") as cache:
        cache.put("a", "1")
        assert cache.get("a") is None
    assert "finished work is not stored" in caplog.text


def test_it_forgets_the_oldest_results_and_stays_below_its_bound(tmp_path):
    file, result = tmp_path / "units.sqlite", json.dumps(random.Random(1).randbytes(5000).hex())
    with UnitCache(file, most=500_000) as cache:
        for key in range(400):
            cache.put(str(key), result)
        assert cache.get("0") is None
        assert cache.get("399") == result
    assert file.stat().st_size < 600_000
