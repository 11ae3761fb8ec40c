"""The tables of docs/results, and the stored files they are printed from."""

import pathlib
import re

import pytest
from scripts import script

TABLES = pathlib.Path(__file__).parents[2] / "docs" / "tables"


@pytest.fixture(scope="module")
def tables():
    return script("tables", TABLES)


def pages(tables):
    return tables.pages()


def test_every_table_is_what_its_files_say(tables):
    assert {str(page): tables.different(page) for page in pages(tables)} == {
        str(page): [] for page in pages(tables)
    }


def test_every_marker_names_a_table_and_every_table_has_a_page(tables):
    assert {name for page in pages(tables) for name in tables.tables_on(page)} == set(tables.TABLES)


def test_rows_have_as_many_cells_as_their_head(tables):
    for name, table in tables.TABLES.items():
        head, *rows = table()
        assert rows, name
        assert {len(row) for row in rows} == {len(head)}, name


def test_every_setting_of_a_method_says_what_it_is(tables):
    found = [name for name in tables.TABLES if name.startswith("settings_")]
    assert found
    for name in found:
        for setting, *_, meaning in tables.TABLES[name]():
            assert meaning, f"{name}: {setting}"


def test_links_and_pictures_of_the_pages_are_there(tables):
    for page in pages(tables):
        for link in re.findall(r"\]\(([^)]+)\)", page.read_text(encoding="utf-8")):
            if link.startswith("http"):
                continue
            name, _, heading = link.partition("#")
            target = page.parent / name if name else page
            assert target.exists(), f"{page.name}: {link}"
            assert not heading or heading in anchors(target), f"{page.name}: {link}"


def anchors(page):
    heads = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return [re.sub(r"[^\w -]", "", head.lower()).replace(" ", "-") for head in heads]


def test_a_changed_digit_is_found_named_and_put_right(tables, tmp_path, monkeypatch, capsys):
    page, marker = tmp_path / "stfpm.md", "<!-- table: stfpm_cookies -->\n"
    right = f"A page.\n\n{marker}{tables.printed('stfpm_cookies')}<!-- end -->\n\nIts end.\n"
    monkeypatch.setattr(tables, "pages", lambda: [page])
    wrong = right.replace("0.984 ± 0.009", "0.985 ± 0.009")
    page.write_text(right, encoding="utf-8")
    assert tables.main("--check") == 0
    page.write_text(wrong, encoding="utf-8")
    assert tables.main("--check") == 1
    assert capsys.readouterr().out == f"{page}: table stfpm_cookies is not what its files say\n"
    assert page.read_text(encoding="utf-8") == wrong != right
    assert tables.main() == 0
    assert page.read_text(encoding="utf-8") == right


@pytest.mark.parametrize(
    "text",
    [
        "<!-- table: unheard_of -->\n<!-- end -->",
        "<!-- table: memory -->\n",
        "<!-- table: memory -->\n<!-- table: index -->\n<!-- end -->",
        "<!-- table: memory -->\n<!-- end -->\n<!-- table: memory -->\n<!-- end -->",
        "<!-- end -->",
    ],
)
def test_markers_that_cannot_be_read_are_refused_with_their_page(tables, tmp_path, text):
    page = tmp_path / "page.md"
    page.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=re.escape(str(page))):
        tables.tables_on(page)


def test_spreads_and_differences_are_those_of_a_calculation_by_hand():
    read = script("tables_read", TABLES)
    assert read.spread([0.1, 0.2, 0.6]) == "0.300 ± 0.265"  # variance 0.14 / 2
    assert read.spread([0.25]) == "0.250"
    assert read.spread([None, None]) == "no masks"
    assert read.differences([0.5, 0.7], [0.6, 0.4]) == "[-0.100, +0.300]"
    assert read.mean_of([[0.0, 1.0], [1.0, 0.5]]) == [0.5, 0.75]


def test_a_sweeps_members_are_one_setting():
    read = script("tables_read", TABLES)
    found = read.members("sweep_stfpm_cookies", layers="layer1", lr="0.4")
    assert [len(values) for values in found.values()] == [3, 3, 3]
    with pytest.raises(ValueError, match="several settings"):
        read.members("sweep_stfpm_cookies", lr="0.4")
    with pytest.raises(ValueError, match="no setting"):
        read.members("sweep_stfpm_cookies", lr="7")
