"""What Packer prints, and what it means."""

from __future__ import annotations

import pytest

from bascule_workers.packer import machine_readable
from bascule_workers.packer.machine_readable import Artifact, IncompleteError, Line

FILE = """\
1,,ui,say,==> file: done
1,file,artifact-count,1
1,file,artifact,0,builder-id,packer.file
1,file,artifact,0,id,File
1,file,artifact,0,string,Stored file: out%!(PACKER_COMMA)put.txt
1,file,artifact,0,files-count,1
1,file,artifact,0,file,0,out%!(PACKER_COMMA)put.txt
1,file,artifact,0,end
"""
CLOUD = """\
1,ami,artifact-count,1
1,ami,artifact,0,builder-id,mitchellh.amazonebs
1,ami,artifact,0,id,eu-west-1:ami-1%!(PACKER_COMMA)us-east-1:ami-2
1,ami,artifact,0,string,AMIs were created:\\neu-west-1: ami-1\\n
1,ami,artifact,0,files-count,0
1,ami,artifact,0,end
"""
NULL = """\
1,n,artifact-count,1
1,n,artifact,0,builder-id,fnoeding.null
1,n,artifact,0,id,Null
1,n,artifact,0,files-count,0
1,n,artifact,0,end
"""


def lines(text: str) -> list[Line]:
    return [line for raw in text.splitlines() if (line := machine_readable.parse_line(raw))]


def test_a_file_artifact_has_its_files() -> None:
    assert machine_readable.artifacts(lines(FILE)) == [
        Artifact("file", "packer.file", "File", "Stored file: out,put.txt", ("out,put.txt",))
    ]


def test_a_cloud_artifact_is_its_id_and_lies_elsewhere() -> None:
    (found,) = machine_readable.artifacts(lines(CLOUD))
    assert found.id == "eu-west-1:ami-1,us-east-1:ami-2"
    assert found.text == "AMIs were created:\neu-west-1: ami-1\n"
    assert found.elsewhere


@pytest.mark.parametrize("text", [FILE, NULL])
def test_files_and_nothing_lie_nowhere_else(text: str) -> None:
    assert not any(artifact.elsewhere for artifact in machine_readable.artifacts(lines(text)))


def test_what_post_processors_pass_on_is_one_artifact() -> None:
    twice = FILE.replace("artifact-count,1", "artifact-count,2") + "\n".join(
        line.replace("artifact,0", "artifact,1") for line in FILE.splitlines()[2:]
    )
    assert machine_readable.artifacts(lines(twice)) == machine_readable.artifacts(lines(FILE))


def test_an_artifact_that_a_post_processor_took_away_is_none() -> None:
    assert machine_readable.artifacts(lines("1,x,artifact-count,1\n1,x,artifact,0,nil\n")) == []


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(FILE.replace("1,file,artifact,0,end\n", ""), id="no end"),
        pytest.param(FILE.replace("files-count,1", "files-count,2"), id="a file is missing"),
        pytest.param(FILE.replace("artifact-count,1", "artifact-count,2"), id="an artifact is missing"),
        pytest.param(FILE.replace("files-count,1", "files-count,many"), id="no number"),
        pytest.param(FILE.replace("artifact,0,id,File", "artifact"), id="nothing said"),
    ],
)
def test_half_a_report_is_none(text: str) -> None:
    with pytest.raises(IncompleteError):
        machine_readable.artifacts(lines(text))


def test_the_name_of_a_build_may_have_commas() -> None:
    assert machine_readable.parse_line("1,a,b,artifact,0,id,x") == Line("a,b", "artifact", ("0", "id", "x"))


@pytest.mark.parametrize("text", ["", "panic: oh no", "a,b,c", "1,,unknown,x", "now,,ui,say,x"])
def test_other_lines_are_none_of_packers(text: str) -> None:
    assert machine_readable.parse_line(text) is None


def test_errors_are_told_once_and_with_line_breaks() -> None:
    text = "1,,ui,error,Error: one\\n\\n  on x.hcl%!(PACKER_COMMA) line 1\n1,b,error,two\n1,,ui,error,b: two\n"
    assert machine_readable.errors(lines(text)) == ["Error: one\n\n  on x.hcl, line 1", "b: two"]
