"""Readers of segmentation data sets, on miniatures in the exact format of each that are written here."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

import summand
from summand import SummandError
from summand.border import foreign
from summand.data.masks import FORMATS, UNLABELLED, open_masks
from summand.data.masks.coco import _spelled

MASK = np.array([[0, 0, 1, 1], [0, 2, 2, 255], [3, 3, 3, 3]], dtype=np.uint8)


def picture(path, size=(4, 3)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (10, 200, 30)).save(path)


def palette(path, mask=MASK):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(mask, mode="P")
    image.putpalette([i // 3 for i in range(768)])
    image.save(path)


def voc(root, folder="SegmentationClass", sets="Segmentation", mask=MASK):
    for name in ("2007_000033", "2007_000042"):
        picture(root / "JPEGImages" / f"{name}.jpg")
        palette(root / folder / f"{name}.png", mask)
    (root / "ImageSets" / sets).mkdir(parents=True)
    (root / "ImageSets" / sets / "val.txt").write_text("2007_000033\n2007_000042\n")
    return root


def named(source):
    """The same source, whose names are those of the pictures that it reads."""
    assert [source.name(i) for i in range(len(source))] == [source.read(i).name for i in range(len(source))]
    return source


def test_voc_keeps_ids_and_leaves_the_border_out(tmp_path):
    source = named(open_masks(str(voc(tmp_path / "VOC2012"))))
    assert len(source) == 2
    assert len(source.classes) == 21
    assert source.classes[foreign(source.background)] == "background"
    assert source.classes[11] == "dining table"
    found = source.read(1)
    assert found.name == "2007_000042"
    assert found.image.size == (4, 3)
    np.testing.assert_array_equal(found.mask, np.where(MASK == 255, UNLABELLED, MASK.astype(int)))


def test_context_has_59_classes_and_no_background(tmp_path):
    root = voc(tmp_path / "VOC2010", "SegmentationClassContext", "SegmentationContext", np.minimum(MASK, 59))
    source = open_masks(f"context59:{root}")
    assert len(source.classes) == 59
    assert source.background is None
    mask = source.read(0).mask
    assert source.classes[mask[0, 2]] == "aeroplane"  # id 1
    assert source.classes[mask[1, 3]] == "wood"  # id 59
    assert mask[0, 0] == UNLABELLED


def test_ade20k_reads_names_from_its_table(tmp_path):
    root = tmp_path / "ADEChallengeData2016"
    picture(root / "images/validation/ADE_val_00000001.jpg")
    palette(root / "annotations/validation/ADE_val_00000001.png", np.minimum(MASK, 3))
    rows = [
        "Idx\tRatio\tTrain\tVal\tName",
        "1\t0.1\t1\t1\twall",
        "2\t0.1\t1\t1\tbuilding, edifice",
        "3\t0.1\t1\t1\tsky",
    ]
    (root / "objectInfo150.txt").write_text("\n".join(rows))
    source = named(open_masks(str(root)))
    assert source.classes == ("wall", "building", "sky")
    np.testing.assert_array_equal(source.read(0).mask, np.minimum(MASK, 3).astype(int) - 1)


def test_coco_panoptic_by_segment_ids(tmp_path):
    picture(tmp_path / "val2017/000000000139.jpg")
    ids = np.array([[0, 0, 7, 7], [300, 300, 300, 7], [70000, 70000, 70000, 70000]])
    colours = np.stack([ids % 256, ids // 256 % 256, ids // 65536], axis=2).astype(np.uint8)
    (tmp_path / "annotations/panoptic_val2017").mkdir(parents=True)
    Image.fromarray(colours).save(tmp_path / "annotations/panoptic_val2017/000000000139.png")
    segments = [{"id": 7, "category_id": 1}, {"id": 300, "category_id": 193}, {"id": 70000, "category_id": 1}]
    listed = {
        "categories": [
            {"id": 1, "name": "person"},
            {"id": 193, "name": "grass-merged"},
            {"id": 175, "name": "wall-wood"},
        ],
        "annotations": [{"file_name": "000000000139.png", "image_id": 139, "segments_info": segments}],
    }
    (tmp_path / "annotations/panoptic_val2017.json").write_text(json.dumps(listed))
    source = named(open_masks(str(tmp_path)))
    assert source.classes == ("person", "grass", "wood wall")
    np.testing.assert_array_equal(source.read(0).mask, [[-1, -1, 0, 0], [1, 1, 1, 0], [0, 0, 0, 0]])


def test_coco_stuff_is_one_below_its_list(tmp_path):
    picture(tmp_path / "images/val2017/1.jpg")
    palette(tmp_path / "annotations/val2017/1.png")
    (tmp_path / "labels.txt").write_text("0: unlabeled\n1: person\n2: bicycle\n3: car\n4: grass\n")
    source = named(open_masks(str(tmp_path)))
    assert [source.classes[i] for i in source.read(0).mask[:, 0]] == ["person", "person", "grass"]
    assert source.read(0).mask[1, 3] == UNLABELLED


def mat(path, broken=False):
    h5py = pytest.importorskip("h5py")
    rng = np.random.default_rng(0)
    pictures = [rng.integers(0, 255, (5, 7, 3), dtype=np.uint8), rng.integers(0, 255, (4, 6, 3), dtype=np.uint8)]
    masks = [rng.integers(0, 2, image.shape[:2], dtype=np.uint8) for image in pictures]
    with h5py.File(path, "w") as file:
        value = file.create_group("value")
        kind = h5py.ref_dtype
        for name in ("img", "gt", "id"):
            value.create_dataset(name, (2, 1), dtype=kind)
        for i, (image, mask) in enumerate(zip(pictures, masks, strict=True)):
            # MATLAB writes columns first: its height × width × 3 is 3 × width × height here.
            value["img"][i, 0] = file.create_dataset(f"#refs#/i{i}", data=image.transpose(2, 1, 0)).ref
            inner = file.create_dataset(f"#refs#/m{i}", data=mask.T).ref
            cell = file.create_dataset(f"#refs#/c{i}", (1, 1), dtype=kind)
            cell[0, 0] = inner
            value["gt"][i, 0] = file[f"#refs#/m{i}"].ref if broken else cell.ref
            letters = np.array([[ord(c)] for c in f"n0{i}_1"], dtype=np.uint16)
            value["id"][i, 0] = file.create_dataset(f"#refs#/n{i}", data=letters).ref
    return pictures, masks


def test_imagenet_segmentation_as_matlab_writes_it(tmp_path):
    pictures, masks = mat(tmp_path / "gtsegs_ijcv.mat")
    source = open_masks(str(tmp_path / "gtsegs_ijcv.mat"))
    assert source.figures
    assert len(source) == 2
    assert len(source.classes) == 1000
    found = source.read(1)
    assert found.name == "n01_1"
    assert found.asked is None
    np.testing.assert_array_equal(np.asarray(found.image), pictures[1])
    np.testing.assert_array_equal(found.mask, masks[1])


def test_a_mat_of_another_layout_shows_the_expected_one(tmp_path):
    mat(tmp_path / "odd.mat", broken=True)
    with pytest.raises(SummandError, match="/value/gt"):
        open_masks(str(tmp_path / "odd.mat")).read(0)
    (tmp_path / "text.mat").write_text("MATLAB 5.0")
    with pytest.raises(SummandError, match="not an HDF5 file"):
        open_masks(str(tmp_path / "text.mat"))


def own(root, classes="0: unlabelled\n1: dog\n2: grass\n3: sky\n", mask=MASK):
    picture(root / "images/a.jpg")
    palette(root / "masks/a.png", mask)
    (root / "classes.txt").write_text(classes)
    return root


def test_a_folder_of_ones_own(tmp_path):
    source = open_masks(str(own(tmp_path)))
    assert source.classes == ("dog", "grass", "sky")
    np.testing.assert_array_equal(source.read(0).mask, [[-1, -1, 0, 0], [-1, 1, 1, -1], [2, 2, 2, 2]])
    other = named(open_masks(str(own(tmp_path / "b", "background\ndog\ngrass\nsky\n"))))
    assert other.background == 0
    assert other.things == [1, 2, 3]


@pytest.mark.parametrize(
    ("classes", "words"),
    [
        ("", "class list is empty"),
        ("# nothing\n", "class list is empty"),
        ("1: dog\n2:\n3: sky", "empty name"),
        ("dog\ndog\n", "listed twice"),
        ("0: unlabelled\n", "class list is empty"),
        ("background\n", "class list is empty"),
    ],
)
def test_bad_class_lists_are_named(tmp_path, classes, words):
    with pytest.raises(SummandError, match=words):
        open_masks(str(own(tmp_path, classes)))


def test_masks_that_do_not_fit_are_named(tmp_path):
    ids = own(tmp_path / "ids", "dog\ngrass\n")
    with pytest.raises(SummandError, match=r"a.jpg: the mask holds the ids 2, 3, which"):
        open_masks(str(ids)).read(0)
    size = own(tmp_path / "size", mask=MASK[:2])
    with pytest.raises(SummandError, match=r"the mask is 4 × 2 pixels, the image 4 × 3"):
        open_masks(str(size)).read(0)
    colours = own(tmp_path / "colours")
    Image.new("RGB", (4, 3)).save(colours / "masks/a.png")
    with pytest.raises(SummandError, match="one channel"):
        open_masks(str(colours)).read(0)
    broken = own(tmp_path / "broken")
    (broken / "masks/a.png").write_bytes(b"nothing")
    with pytest.raises(OSError, match="its mask is not an image that Pillow can read"):
        open_masks(str(broken)).read(0)
    (size / "masks/a.png").write_bytes((ids / "masks/a.png").read_bytes()[:-30])
    with pytest.raises(OSError, match=r"its mask cannot be read: .*truncated"):
        open_masks(str(size)).read(0)


@pytest.mark.parametrize("name", [name for name in FORMATS if name != "imagenet-segmentation"])
def test_a_wrong_layout_shows_the_expected_tree(tmp_path, name):
    with pytest.raises(SummandError, match="there is no") as raised:
        open_masks(f"{name}:{tmp_path}")
    assert FORMATS[name][1] in str(raised.value)


def test_what_fits_no_format_lists_them_all(tmp_path):
    with pytest.raises(SummandError) as raised:
        open_masks(str(tmp_path))
    assert all(tree in str(raised.value) for _, tree in FORMATS.values())
    with pytest.raises(SummandError, match="does not exist, did you mean 'voc2012'"):
        open_masks("voc2021:/nowhere")


def test_scenes_ask_for_the_group_that_the_mask_shows():
    source = open_masks("scenes:count=30,seed=5,groups=2")
    sample = summand.scenes.sample(30, seed=5, groups=2)
    seen = set()
    for row in range(30):
        found = source.read(row)
        attribute, value = source.classes[foreign(found.asked)].split()
        tables = (sample.attributes, sample.second)
        group = next(g for g in (0, 1) if str(tables[g].loc[row, attribute]) == value)
        np.testing.assert_array_equal(found.mask == 1, sample.group_masks[row, group])
        np.testing.assert_array_equal(np.asarray(found.image), sample.images[row])
        seen.add((attribute, group))
    assert len(seen) == 6


def test_scenes_by_an_attribute_are_semantic():
    source = open_masks("scenes:count=3,seed=5,groups=2", attribute="colour")
    sample = summand.scenes.sample(3, seed=5, groups=2)
    found = source.read(2)
    for group, table in enumerate((sample.attributes, sample.second)):
        named = {source.classes[i] for i in np.unique(found.mask[sample.group_masks[2, group]])}
        assert named == {f"colour {table.loc[2, 'colour']}"}
    assert source.classes[foreign(source.background)] == "background"
    with pytest.raises(SummandError, match="segmented by shape, colour, texture"):
        open_masks("scenes", attribute="place")


def test_names_of_coco_are_spelled_as_they_are_read():
    for name, spelled in (
        ("wall-brick", "brick wall"),
        ("door-stuff", "door"),
        ("window-blind", "window blind"),
        ("grass-merged", "grass"),
        ("wall-other-merged", "wall"),
        ("raw-material", "raw material"),
    ):
        assert _spelled(name) == spelled
