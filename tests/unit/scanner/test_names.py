"""Every name that a reader may see, and none that no reader does."""

from __future__ import annotations

import pytest
from gatescan.judging import names
from gatescan.model import Verdict
from hypothesis import given, settings
from hypothesis import strategies as st

CLSID = "{3050F4D8-98B5-11CF-BB82-00AA00BDCE0B}"


@pytest.mark.parametrize(
    ("name", "extension"),
    [
        ("run.exe", "exe"),
        ("RUN.EXE", "exe"),
        ("run.exe. . ", "exe"),
        ("run.exe::$DATA", "exe"),
        ("run.exe:zone.txt", "exe"),
        ("a.txt:run.exe", "exe"),
        ("C:run.exe", "exe"),
        ("../../run.exe", "exe"),
        ("..\\run.exe", "exe"),
        ("run.exe\0.txt", "exe"),
        ("run.exe;.txt", "exe"),
        ("run.exe;1", "exe"),
        ("run%2Eexe", "exe"),
        ("run%252Eexe", "exe"),
        ("run&#46;exe", "exe"),
        ("run&period;exe", "exe"),
        ("=?utf-8?q?run=2Eexe?=", "exe"),
        ("=?utf-8?b?cnVuLmV4ZQ==?=", "exe"),
        ("utf-8'en-US'run%2Eexe", "exe"),
        ("run.\uff45\uff58\uff45", "exe"),
        ("run\uff0eexe", "exe"),
        ("run\u2024exe", "exe"),
        ("run.e\u200dx\u200be", "exe"),
        ("run\u202egpj.exe", "exe"),
        ("run.\u0435\u0445\u0435", "exe"),
        ('"run.exe"', "exe"),
        ("'run.exe'", "exe"),
        ("run\\.exe", "exe"),
        (".exe", "exe"),
        ("run\u3002exe", "exe"),
        ("run\uff61exe", "exe"),
        ("run\u06d4exe", "exe"),
        ("<run.exe>", "exe"),
        ("\u201crun.exe\u201d", "exe"),
        ("run.e<x>e", "exe"),
        (f"a.txt.{CLSID}", CLSID.lower()),
    ],
)
def test_an_extension_that_some_reader_sees(name: str, extension: str) -> None:
    assert extension in names.extensions(name)


@pytest.mark.parametrize(
    ("name", "extensions"),
    [
        ("aaa@bbb.com; ccc.zip", {"zip"}),
        ("aaa@bbb.com, ccc.zip", {"zip"}),
        ("report of example.com: part 2.pdf", {"pdf"}),
        ("setup.exe.txt", {"txt"}),
        ("the exe file", set()),
        ("README", set()),
        ("100%25.pdf", {"pdf"}),
        ("AT&amp;T.pdf", {"pdf"}),
        ("\u8cc7\u6599.pdf", {"pdf"}),
        ("\u05d3\u05d5\u05d7\u200f.pdf", {"pdf"}),
    ],
)
def test_an_extension_that_no_reader_sees(name: str, extensions: set[str]) -> None:
    assert names.extensions(name) == extensions


def test_variants_are_in_lower_case_and_each_once() -> None:
    assert names.variants(["EICAR.COM", "eicar.com", "Eicar.com. "]) == ("eicar.com",)


@pytest.mark.parametrize(
    ("name", "code", "verdict"),
    [
        (f"a.txt.{CLSID}", "name-clsid", Verdict.POLICY),
        ("a.jpg" + " " * 60 + ".dat", "name-padded", Verdict.POLICY),
        ("a" * 300, "name-too-long", Verdict.POLICY),
        ("../a.txt", "name-path", Verdict.POLICY),
        ("..%2Fa.txt", "name-path", Verdict.POLICY),
        ("aux", "name-device", Verdict.POLICY),
        ("a$(id).txt", "name-shell", Verdict.POLICY),
        ("a`/bin/sh -c x`.txt", "name-shell", Verdict.POLICY),
        (f"{'b' * 300}/a.txt", "name-too-long", Verdict.POLICY),
        ("-rf", "name-shell", Verdict.POLICY),
        ("|id", "name-shell", Verdict.POLICY),
        ("a\0.txt", "name-nul", Verdict.AMBIGUOUS),
        ("a\u202etxt.pdf", "name-direction", Verdict.AMBIGUOUS),
    ],
)
def test_names_that_are_wrong_in_themselves(name: str, code: str, verdict: Verdict) -> None:
    found = names.anomalies(name, "2")
    assert (code, verdict, "2") in {(f.code, f.verdict, f.part) for f in found}
    assert all(f.detail.isprintable() for f in found)


@pytest.mark.parametrize(
    "name",
    [
        "a.txt",
        "auxiliary.txt",
        "console.log",
        "a..b.txt",
        "-draft-.pdf",
        "C:\\Users\\ann\\a.txt",
        "a/b.txt",
        "\u202aa.txt",
        "/tmp/Quarterly report.pdf",
        "/".join(["a folder with a rather long name"] * 12) + "/a.txt",
        "Con.docx",
        "aux.tex",
        "Revenue $(000s).xlsx",
        "Ann`s and Bob`s.txt",
        "the `final` version.txt",
    ],
)
def test_names_that_are_fine(name: str) -> None:
    assert names.anomalies(name) == ()


@settings(max_examples=500, deadline=None)
@given(
    st.text(max_size=400) | st.lists(st.sampled_from([*"=?%&#;:.\\/'\" \0\u202ea2e", "=?utf-8?q?", "?="])).map("".join)
)
def test_any_name_is_read_and_its_variants_are_stable(name: str) -> None:
    variants = names.variants([name])
    assert len(variants) < 300
    assert all(v == v.lower() and len(v) <= 8300 for v in variants)
    names.extensions(name)
    names.anomalies(name)


@given(st.text(alphabet=st.characters(codec="ascii", categories=["L", "N"]), min_size=1, max_size=40))
def test_a_plain_name_is_only_itself(stem: str) -> None:
    assert names.variants([f"{stem}.exe"]) == (f"{stem}.exe".lower(),)
    assert names.extensions(f"{stem}.exe") == {"exe"}
