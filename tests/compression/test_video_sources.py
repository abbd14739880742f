"""Videos are found with their captions: in any folder, in OpenVid's layout and in UCF101's."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from vdmini_compress.videos.films import Listing
from vdmini_compress.videos.settings import Videos
from vdmini_compress.videos.sources import class_words, list_films


def touch(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"v")


def table(path: Path, columns: list[str], *rows: list[str]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([columns, *rows])
    return path


def folder(path: Path, **fields: Any) -> Videos:
    return Videos.model_validate({"source": "folder", "path": path, **fields})


def test_a_folder_takes_captions_from_the_texts_beside_its_videos(tmp_path: Path) -> None:
    for name in ["a.mp4", "deep/er/b.MKV", ".hidden.mp4", "notes.md", "c.webm"]:
        touch(tmp_path / name)
    (tmp_path / "a.txt").write_text("a cat\n on a mat\n")
    (tmp_path / "c.txt").write_bytes(b"\xff\xfe\xff")
    listing = list_films(folder(tmp_path))
    assert [(f.name, f.caption) for f in listing.films] == [("a.mp4", "a cat on a mat"), ("deep/er/b.MKV", None)]
    assert listing.skipped.counts == {"caption unreadable": 1}
    assert [f.name for f in listing.captioned().films] == ["a.mp4"]
    assert listing.captioned().skipped.counts == {"caption unreadable": 1, "no caption": 1}


def test_a_folder_takes_captions_and_stretches_from_a_table(tmp_path: Path) -> None:
    for name in ["a.mp4", "sub/b.mp4"]:
        touch(tmp_path / name)
    table(
        tmp_path / "captions.csv",
        ["file", "caption", "start", "end"],
        ["a.mp4", "first, then", "0", "1.5"],
        ["a.mp4", "second", "1.5", ""],
        ["gone.mp4", "third", "", ""],
    )
    listing = list_films(folder(tmp_path))
    told = [(f.name, f.caption, f.start_seconds, f.end_seconds) for f in listing.films]
    assert told == [("a.mp4", "first, then", 0, 1.5), ("a.mp4", "second", 1.5, None), ("sub/b.mp4", None, 0, None)]
    assert listing.skipped.counts == {"file missing": 1}


def test_a_folder_takes_captions_from_json_lines(tmp_path: Path) -> None:
    touch(tmp_path / "videos/a.mp4")
    lines = tmp_path / "told.jsonl"
    lines.write_text(json.dumps({"file": "a.mp4", "caption": "ein Würfel"}) + "\n\n")
    (only,) = list_films(folder(tmp_path / "videos", captions=lines)).films
    assert only.caption == "ein Würfel"


OPENVID = ["video", "caption", "aesthetic score", "motion score", "temporal consistency score", "camera motion"]
OPENVID += ["frame", "fps", "seconds"]


def test_openvid_is_read_from_its_csv_whichever_parts_are_there(tmp_path: Path) -> None:
    scores = ["5.2", "3.1", "0.99", "static", "120", "24.0", "5.0"]
    rows = [["x_0.mp4", "a dog, running", *scores], ["y_1.mp4", "a tree", *scores], ["z.mp4", "", *scores]]
    table(tmp_path / "OpenVid-1M.csv", OPENVID, *rows)
    for name in ["video_folder/x_0.mp4", "part2/z.mp4", "part2/unlisted.mp4"]:
        touch(tmp_path / name)
    wanted = Videos(source="openvid", path=tmp_path)
    listing = list_films(wanted)
    assert [(f.name, f.caption) for f in listing.films] == [
        ("part2/z.mp4", None),
        ("video_folder/x_0.mp4", "a dog, running"),
    ]
    assert listing.skipped.counts == {"file missing": 1}
    beside = wanted.model_copy(update={"path": tmp_path / "video_folder"})
    assert [f.name for f in list_films(beside).films] == ["x_0.mp4"]


UCF101 = [
    "ApplyEyeMakeup/v_ApplyEyeMakeup_g01_c01.avi",
    "ApplyEyeMakeup/v_ApplyEyeMakeup_g08_c01.avi",
    "YoYo/v_YoYo_g08_c02.avi",
]


def test_ucf101_has_a_folder_per_class_and_published_splits(tmp_path: Path) -> None:
    for name in UCF101:
        touch(tmp_path / "UCF-101" / name)
    lists = tmp_path / "ucfTrainTestlist"
    lists.mkdir()
    (lists / "trainlist01.txt").write_text(f"{UCF101[1]} 1\n{UCF101[2]} 101\nYoYo/v_YoYo_g09_c01.avi 101\n")
    (lists / "testlist01.txt").write_text(f"{UCF101[0]}\n")

    def films(path: Path, split: str | None) -> Listing:
        return list_films(Videos.model_validate({"source": "ucf101", "path": path, "split": split}))

    whole = films(tmp_path / "UCF-101", None)
    assert [f.name for f in whole.films] == UCF101
    assert [(f.label, f.caption) for f in whole.films[1:]] == [
        ("ApplyEyeMakeup", "apply eye makeup"),
        ("YoYo", "yo yo"),
    ]
    train = films(tmp_path / "UCF-101", "train01")
    assert ([f.name for f in train.films], train.skipped.counts) == (UCF101[1:], {"file missing": 1})
    assert [f.name for f in films(tmp_path, "test01").films] == UCF101[:1]
    with pytest.raises(ValueError, match=r"no trainlist03\.txt in .*unpack UCF101's ucfTrainTestlist"):
        films(tmp_path, "train03")


@pytest.mark.parametrize(
    ("label", "words"), [("TaiChi", "tai chi"), ("HandstandPushups", "handstand pushups"), ("TVShow_2", "tv show 2")]
)
def test_a_class_name_is_said_in_words(label: str, words: str) -> None:
    assert class_words(label) == words


def test_a_wrong_layout_is_refused_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"nowhere is not a folder; give the folder that holds the videos"):
        list_films(folder(tmp_path / "nowhere"))
    with pytest.raises(ValueError, match=r"holds no video; files must end in one of \.avi"):
        list_films(folder(tmp_path))
    touch(tmp_path / "a.mp4")
    with pytest.raises(ValueError, match=r"no OpenVid-1M\.csv or OpenVidHD\.csv in or beside"):
        list_films(Videos(source="openvid", path=tmp_path))
    wrong = table(tmp_path / "wrong.csv", ["path", "text"], ["a.mp4", "x"])
    with pytest.raises(ValueError, match=r"wrong\.csv has the columns path, text; it needs video, caption"):
        list_films(Videos(source="openvid", path=tmp_path, captions=wrong))
    with pytest.raises(ValueError, match=r"needs file, caption"):
        list_films(folder(tmp_path, captions=wrong))
    with pytest.raises(ValueError, match=r"gone\.csv cannot be read"):
        list_films(folder(tmp_path, captions=tmp_path / "gone.csv"))
    odd = table(tmp_path / "odd.csv", ["file", "caption", "start"], ["a.mp4", "x", "soon"])
    with pytest.raises(ValueError, match=r"a\.mp4 goes from 'soon' to ''; give seconds"):
        list_films(folder(tmp_path, captions=odd))
    with pytest.raises(ValueError, match="no class folders such as ApplyEyeMakeup"):
        list_films(Videos(source="ucf101", path=tmp_path))
    nothing = table(tmp_path / "nothing.csv", ["video", "caption"], ["b.mp4", "x"])
    with pytest.raises(ValueError, match=r"none of the 1 videos in .*nothing\.csv is below"):
        list_films(Videos(source="openvid", path=tmp_path, captions=nothing))


def test_settings_that_belong_to_another_source_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="split belongs to source ucf101"):
        folder(tmp_path, split="train01")
    with pytest.raises(ValueError, match="captions don't belong to source ucf101"):
        Videos(source="ucf101", path=tmp_path, captions=tmp_path / "x.csv")
