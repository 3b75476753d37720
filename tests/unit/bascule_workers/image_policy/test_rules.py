"""The rules, on tables of files."""

from __future__ import annotations

import pytest

from bascule_workers.image_policy import rules
from bascule_workers.image_policy.findings import Finding, Rule, Severity
from bascule_workers.image_policy.rules import Allowed, Image
from bascule_workers.image_policy.table import Entry, FileTable, Type

PASSWD = b"root:x:0:0:root:/root:/bin/sh\ntoor:x:0:0::/:/bin/sh\nweb:x:1000:1000::/:/bin/sh\n"
DEFAULT = Allowed()
HASH = "$6$salt$" + "x" * 86


def file(content: bytes | None = b"x", mode: int = 0o644, **fields: int | str | bool) -> Entry:
    return Entry(Type.FILE, mode, int(fields.pop("uid", 0)), 0, 0, content=content, **fields)  # type: ignore[arg-type]


def folder(mode: int = 0o755) -> Entry:
    return Entry(Type.FOLDER, mode, 0, 0, 0)


def image(user: str = "1000", **files: Entry) -> Image:
    """An image with `etc__shadow=…` for /etc/shadow."""
    table = FileTable(1000)
    for name, entry in files.items():
        table.add(name.replace("__", "/"), entry)
    return Image({"User": user}, table)


def found(image: Image, allowed: Allowed = DEFAULT, known: str = "") -> list[tuple[Rule, Severity, str]]:
    def guess(account: str, hashed: str) -> str | None:
        return "root" if account == known else None

    return [(f.rule, f.severity, f.path) for f in rules.check(image, allowed, guess)]


def test_a_good_image_has_no_findings() -> None:
    good = image("web", etc__passwd=file(PASSWD), etc__shadow=file(b"root:*:1::\nweb:!:1::\n", 0o640),
                 tmp=folder(0o1777), usr__bin__su=file(mode=0o4755), root__ssh__known_hosts=file())  # fmt: skip
    assert found(good) == []


@pytest.mark.parametrize("user", ["", "0", "root", "0:0", "root:web", "toor", "+0", "00", ":1000", "nobody-knows"])
def test_root_by_any_name(user: str) -> None:
    assert found(image(user, etc__passwd=file(PASSWD))) == [(Rule.ROOT_USER, Severity.HIGH, "/")]


@pytest.mark.parametrize("user", ["1000", "web", "web:root", "1000:0", "65532"])
def test_others_are_not_root(user: str) -> None:
    assert found(image(user, etc__passwd=file(PASSWD))) == []


def test_root_may_be_allowed() -> None:
    assert found(image(""), Allowed(root=True)) == []


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("root::1::::::", (Rule.DEFAULT_CREDENTIALS, Severity.HIGH)),
        (f"root:{HASH}:1::::::", (Rule.DEFAULT_CREDENTIALS, Severity.HIGH)),
        (f"web:{HASH}:1::::::", (Rule.PASSWORD_HASH, Severity.MEDIUM)),
        ("web:$6$rounds=999999999$salt$xxxx:1::::::", (Rule.PASSWORD_HASH, Severity.MEDIUM)),
        (f"web:!{HASH}:1::::::", None),
        ("web:*:1::::::", None),
        ("web:!:1::::::", None),
        ("web:x:1::::::", None),
        ("# root::", None),
    ],
)
@pytest.mark.parametrize("path", ["etc__shadow", "etc__passwd"])
def test_accounts_that_let_somebody_in(path: str, line: str, expected: tuple[Rule, Severity] | None) -> None:
    made = image(**{path: file(line.encode())})
    assert found(made, known="root") == ([(*expected, "/" + path.replace("__", "/"))] if expected else [])


def test_a_password_is_never_repeated() -> None:
    made = image(etc__shadow=file(f"root:{HASH}:1::".encode()))
    (finding,) = rules.check(made, Allowed(), lambda account, hashed: "hunter2")
    assert "hunter2" not in str(finding)
    assert HASH not in str(finding)


def test_a_shadow_file_that_cannot_be_looked_into_is_told() -> None:
    made = image(etc__shadow=Entry(Type.LINK, 0o777, 0, 0, 0, target="/data"), data=file(None))
    assert found(made) == [(Rule.DEFAULT_CREDENTIALS, Severity.MEDIUM, "/etc/shadow")]


@pytest.mark.parametrize(
    ("content", "expected"),
    [(b"ssh-ed25519 AAAA me\n", 1), (b"# none\n\n", 0), (b"", 0), (None, 1)],
)
def test_authorized_keys(content: bytes | None, expected: int) -> None:
    table = FileTable(100)
    table.add("home/web/.ssh/authorized_keys", file(content))
    assert len(found(Image({"User": "1"}, table))) == expected


def test_private_keys_and_host_keys() -> None:
    table = FileTable(100)
    table.add("opt/key.pem", file(private_key="RSA private key"))
    table.add("etc/ssh/ssh_host_ed25519_key", file())
    table.add("etc/ssh/ssh_host_rsa_key", file(b""))
    table.add("etc/ssh/ssh_host_ed25519_key.pub", file())
    assert found(Image({"User": "1"}, table)) == [
        (Rule.PRIVATE_KEY, Severity.HIGH, "/opt/key.pem"),
        (Rule.PRIVATE_KEY, Severity.HIGH, "/etc/ssh/ssh_host_ed25519_key"),
    ]


def test_a_key_that_a_later_layer_hides_is_told_with_its_layer() -> None:
    table = FileTable(100)
    table.add("root/key", file(private_key="EC private key"))
    table.add("root/.wh.key", Entry(Type.FILE, 0, 0, 0, 1))
    (finding,) = rules.check(Image({"User": "1"}, table), Allowed())
    assert (finding.rule, finding.path) == (Rule.PRIVATE_KEY, "/root/key")
    assert finding.detail.startswith("layer 1 holds a EC private key; a later layer only hides it")


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        pytest.param(file(mode=0o4755), Severity.HIGH, id="setuid root"),
        pytest.param(file(mode=0o4755, uid=5), Severity.MEDIUM, id="setuid of another user"),
        pytest.param(file(mode=0o2755), Severity.MEDIUM, id="setgid"),
        pytest.param(file(mode=0o755, capabilities=True), Severity.MEDIUM, id="capabilities"),
        pytest.param(file(mode=0o755), None, id="none"),
        pytest.param(folder(0o2755), None, id="a setgid folder"),
    ],
)
def test_borrowed_rights(entry: Entry, expected: Severity | None) -> None:
    made = image(usr__bin__tool=entry)
    assert found(made) == ([(Rule.SETUID, expected, "/usr/bin/tool")] if expected else [])
    assert found(made, Allowed(setuid=frozenset({"/usr/bin/tool"}))) == []


@pytest.mark.parametrize(
    ("path", "entry", "expected"),
    [
        ("etc__cron", file(mode=0o666), Severity.HIGH),
        ("srv__data", folder(0o777), Severity.MEDIUM),
        ("srv__data", folder(0o1777), None),
        ("srv__data", file(mode=0o1666), Severity.MEDIUM),
        ("srv__data", Entry(Type.LINK, 0o777, 0, 0, 0, target="x"), None),
        ("dev__null", Entry(Type.OTHER, 0o666, 0, 0, 0), None),
        (".", folder(0o777), Severity.HIGH),
    ],
)
def test_what_everybody_may_write(path: str, entry: Entry, expected: Severity | None) -> None:
    where = "/" if path == "." else "/" + path.replace("__", "/")
    assert found(image(**{path: entry})) == ([(Rule.WORLD_WRITABLE, expected, where)] if expected else [])


def test_findings_are_values() -> None:
    assert Finding(Rule.SETUID, Severity.HIGH, "/a", "b") == Finding(Rule.SETUID, Severity.HIGH, "/a", "b")
