"""Groups of a split that follow from the data set, and groups that do not."""

from mlops_core.testing.use_cases.groupings import is_explained

NAMES = [f"{speaker}-{take}.wav" for speaker in "abcd" for take in range(3)]


def test_the_beginning_of_the_name_explains_groups(tmp_path):
    assert is_explained({name: name[0] for name in NAMES}, tmp_path)


def test_a_union_of_explained_groups_is_explained(tmp_path):
    assert is_explained({name: "ab" if name[0] in "ab" else name[0] for name in NAMES}, tmp_path)


def test_a_column_of_a_table_explains_groups(tmp_path):
    rows = [f"x{number}.wav,p{number // 2}" for number in range(8)]
    (tmp_path / "clips.csv").write_text("file,person\n" + "\n".join(rows))
    assert is_explained({f"x{number}.wav": f"{number // 2}" for number in range(8)}, tmp_path)
    assert not is_explained({f"x{number}.wav": f"{number % 3}" for number in range(8)}, tmp_path)


def test_groups_that_cut_through_all_names_are_not_explained(tmp_path):
    assert not is_explained({name: str(number % 5) for number, name in enumerate(NAMES)}, tmp_path)
