"""The measurement of a page's size and time."""

import pytest
from scripts import script


def test_a_page_is_written_and_its_bytes_are_counted(tmp_path):
    found = script("bench_report").written(tmp_path, 10)
    files = [file for file in tmp_path.rglob("*") if file.is_file()]
    assert found["bytes"] == sum(file.stat().st_size for file in files)
    assert found["page"] == (tmp_path / "index.html").stat().st_size
    assert min(found["visit"], found["finish"]) > 0


@pytest.mark.browser
def test_a_page_is_opened_where_there_is_a_browser(tmp_path):
    pytest.importorskip("playwright")
    bench = script("bench_report")
    bench.written(tmp_path, 10)
    seconds = bench.opened(tmp_path / "index.html")
    assert seconds is None or seconds > 0
