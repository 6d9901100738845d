"""The registry: every table and figure there is to be, with the numbers that the papers print."""

from __future__ import annotations

import pytest

import summand
from summand import SummandError
from summand.studies.reproduce.needs import NEEDS
from summand.studies.reproduce.registry import ROWS, chosen

_C = "fig2 fig3 fig4 table1 table2 table3 table4 table6 table7 table8 table9 table10 table11 table12 table13"
_A = "fig3 fig4 fig9 fig10 fig11 fig12 table1 table2 table3 table4 table5 appA5"
_B = "reconstruction sparsity omp subconcepts polysemanticity context59 cars"


def test_every_table_and_figure_is_a_row():
    wanted = [f"{paper}:{name}" for paper, names in (("C", _C), ("A", _A), ("B", _B)) for name in names.split()]
    assert list(ROWS) == wanted


@pytest.mark.parametrize(
    ("row", "what", "value"),
    [  # read off the papers' own tables
        ("C:fig2", "ViT-H-14 without MLPs", 76.30),
        ("C:table4", "ViT-B-16 without the class token's term", 69.37),
        ("C:table4", "ViT-L-14 and without MLPs", 73.87),
        ("C:fig4", "60 descriptions a head", 72.77),
        ("C:table2", "ViT-L-14 worst group, best of random", 57.7),
        ("C:table10", "ViT-B-16 all images, heads ablated", 83.8),
        ("C:table11", "landbird on water, as it is", 47.7),
        ("C:table12", "waterbird on land, heads ablated", 43.3),
        ("C:table13", "landbird on water, heads ablated", 57.5),
        ("C:table3", "GradCAM, pixel accuracy", 70.27),
        ("C:table3", "TextSpan, mAP", 81.61),
        ("A:table1", "explained of second-order effects", 48.2),
        ("A:table3", "dog to deer, second-order", 22.7),
        ("A:table3", "ship to truck, indirect effects", 0.0),
        ("A:table4", "neurons, mIoU", 59.0),
        ("A:table4", "LRP, mAP", 68.5),
        ("B:reconstruction", "neurons by 2 components", 69.0),
        ("B:context59", "neuron map alone, mIoU", 16.5),
        ("B:cars", "convertible", 0.71),
    ],
)
def test_published_numbers(row, what, value):
    assert ROWS[row].published[what] == value


def test_worst_groups_are_the_lowest_of_their_tables():
    for name, model in (("C:table11", "ViT-L-14"), ("C:table12", "ViT-H-14"), ("C:table13", "ViT-B-16")):
        for when in ("as it is", "heads ablated"):
            groups = [value for what, value in ROWS[name].published.items() if what.endswith(when)]
            assert min(groups) == ROWS["C:table2"].published[f"{model} worst group, {when}"]


def test_rows_are_chosen_by_paper_and_by_id():
    assert len(chosen("all")) == len(ROWS)
    assert {row.paper for row in chosen("b")} == {"B"}
    assert [row.id for row in chosen("A:table1, C:fig2")] == ["C:fig2", "A:table1"]
    with pytest.raises(SummandError, match="did you mean 'C:table3'"):
        chosen("C:tabel3")
    with pytest.raises(SummandError, match="name a table"):
        chosen(" , ")


def test_the_list_says_what_each_needs():
    found = summand.reproduce()
    assert list(found.rows["row"]) == list(ROWS)
    assert {name for row in ROWS.values() for name in row.needs} <= set(NEEDS)
    (table,) = found.tables()
    assert table.columns[0].name == "row"
