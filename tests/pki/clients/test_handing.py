"""What a client is handed: files, PKCS#12, tables; and runs that are killed."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key, pkcs12
from hypothesis import given
from hypothesis import strategies as st

from sealgate.errors import StateError, UsageError
from sealgate.pki.clients.batch import JOURNAL, issue_table
from sealgate.pki.clients.handing import Files, hand_over, prepare
from sealgate.pki.clients.naming import Asked
from sealgate.pki.clients.office import Application, issue
from sealgate.pki.clients.orders import carry_out
from sealgate.pki.clients.register import Register
from sealgate.pki.clients.table import read_table
from sealgate.pki.keys import generate, public_spki, spki, to_pem
from sealgate.pki.state import State
from sealgate.pki.store import Store
from sealgate.policy.model import Clients, Policy
from tests.pki.clients.test_naming import refusal
from tests.pki.making import openssl, write

POLICY = Policy(clients=Clients(groups={"g": ()}))
DEFAULTS = Asked(name="")


def table(*lines: str) -> list[Asked]:
    return read_table("\n".join(lines).encode(), "clients.csv", DEFAULTS)


class TestFiles:
    @pytest.fixture
    def handed(self, state: State, clock, tmp_path: Path):
        key = generate("ecdsa-p256")
        (issued,) = issue(state, POLICY, [Application(Asked(name="alice"), spki(key))], clock)
        assert issued is not None
        files = Files(tmp_path / "out", "alice")

        def write_them(password: bytes | None = None) -> Files:
            prepare(files, replacing=False)
            hand_over(files, issued.chain.encode(), issued.root.encode(), key=key, password=password)
            return files

        return write_them

    def test_pem(self, handed) -> None:
        files = handed()
        assert stat.S_IMODE(files.key.stat().st_mode) == 0o600
        assert stat.S_IMODE(files.folder.stat().st_mode) == 0o700
        chain = x509.load_pem_x509_certificates(files.chain.read_bytes())
        assert len(chain) == 2
        root = x509.load_pem_x509_certificate(files.root.read_bytes())
        chain[1].verify_directly_issued_by(root)
        assert spki(load_pem_private_key(files.key.read_bytes(), None)) == public_spki(chain[0])  # type: ignore[arg-type]

    def test_they_replace_nothing(self, handed) -> None:
        handed()
        with pytest.raises(UsageError) as caught:
            handed()
        assert caught.value.code == "client-file-exists"

    def test_pkcs12_is_modern_and_openssl_opens_it(self, handed, tmp_path: Path) -> None:
        files = handed(b"correct horse")
        assert not files.key.exists()
        password = write(tmp_path / "password", b"correct horse\n")
        words = ["pkcs12", "-in", files.p12, "-passin", f"file:{password}", "-nodes", "-info"]
        done = openssl(*words)
        assert done.returncode == 0, done.stderr
        assert done.stdout.count(b"BEGIN CERTIFICATE") == 2
        assert done.stderr.count(b"PBES2, PBKDF2, AES-256-CBC, Iteration 250000, PRF hmacWithSHA256") == 2
        assert b"MAC: sha256" in done.stderr
        another = write(tmp_path / "another", b"battery\n")
        wrong = openssl(*words[:4], f"file:{another}", "-nodes")
        assert wrong.returncode
        loaded = pkcs12.load_pkcs12(files.p12.read_bytes(), b"correct horse")
        assert loaded.cert is not None
        assert loaded.cert.friendly_name == b"alice"

    def test_a_full_disk_is_told_with_the_way_out(self, handed, monkeypatch: pytest.MonkeyPatch) -> None:
        def full(*_: object, **__: object) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("sealgate._system.files.os.fsync", full)
        with pytest.raises(StateError, match='client renew "alice"') as caught:
            handed()
        assert caught.value.code == "client-not-written"

    def test_a_renewal_that_fails_leaves_the_pair_that_was_there(self, handed, state: State, clock) -> None:
        files = handed()
        before = files.key.read_bytes()
        files.chain.rename(files.folder / "moved.pem")
        files.chain.mkdir()  # its place cannot be taken
        (files.chain / "something").touch()
        key = generate("ecdsa-p256")
        with pytest.raises(StateError) as caught:
            hand_over(files, b"chain", files.root.read_bytes(), key=key)
        assert caught.value.code == "client-not-written"
        assert files.key.read_bytes() == before
        names = {"alice.key", "alice.pem", "moved.pem", "root.pem"}
        assert {path.name for path in files.folder.iterdir()} == names

    def test_a_key_kept_by_a_killed_run_is_the_one_that_goes_back(self, handed) -> None:
        files = handed()
        good = files.key.rename(files.folder / "alice.key.before").read_bytes()
        files.key.write_bytes(b"of the run that was killed")
        (files.chain.rename(files.folder / "moved.pem"), files.chain.mkdir())
        with pytest.raises(StateError):
            hand_over(files, b"chain", files.root.read_bytes(), key=generate("ecdsa-p256"))
        assert files.key.read_bytes() == good
        files.chain.rmdir()
        key = generate("ecdsa-p256")
        hand_over(files, b"chain", files.root.read_bytes(), key=key)
        assert files.key.read_bytes() == to_pem(key)
        assert not list(files.folder.glob("*.before"))
        assert not list(files.folder.glob(".*"))

    def test_a_key_of_long_ago_does_not_go_back(self, handed) -> None:
        files = handed()
        good = files.key.read_bytes()
        (files.folder / "alice.key.before").write_bytes(b"of a run that was killed at its very end")
        chain = files.chain.read_bytes()

        def there(path: Path, target: Path) -> Path:
            if path.name == ".alice.pem.new":
                raise OSError(5, "Input/output error")
            return rename(path, target)

        rename = Path.replace
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Path, "replace", there)
            with pytest.raises(StateError):
                hand_over(files, b"chain", files.root.read_bytes(), key=generate("ecdsa-p256"))
        assert (files.key.read_bytes(), files.chain.read_bytes()) == (good, chain)

    @pytest.mark.parametrize(
        "content",
        [b"a note", b"-----BEGIN PRIVATE KEY-----\nthe only copy\n", None, b"\0" * 100_000],
        ids=["note", "key", "with a key", "large"],
    )
    def test_a_root_of_somebody_elses_is_kept(self, handed, content: bytes | None) -> None:
        files = handed()
        ours = files.root.read_bytes()
        content = content or ours + to_pem(generate("ecdsa-p256"))
        files.root.write_bytes(content)
        for path in (files.key, files.chain):
            path.unlink()
        with pytest.raises(UsageError, match=r"root\.pem.*no root of") as caught:
            handed()
        assert caught.value.code == "client-file-exists"
        with pytest.raises(UsageError, match=r"root\.pem"):
            prepare(files, replacing=True)
        assert files.root.read_bytes() == content
        files.root.write_bytes(ours)
        handed()


class TestTable:
    def test_a_file_that_is_no_table_is_not_read_to_its_end(self) -> None:
        for rows in (["-"] * 3000, ["a,b"] * 3000):
            with pytest.raises(UsageError, match="; and at least 995 more") as caught:
                table("name", *rows)
            lines = caught.value.details["lines"]
            assert isinstance(lines, tuple)
            assert len(lines) == 1000

    def test_a_table(self) -> None:
        rows = table("name,groups,days,email", "alice,ops;staff,30,a@b.test", "", "bob,,,")
        assert rows[0] == Asked(name="alice", groups=("ops", "staff"), days=30, emails=("a@b.test",))
        assert rows[1] == Asked(name="bob")

    @pytest.mark.parametrize(
        ("text", "why"),
        [
            ("", "line 1 must name the columns"),
            ("name", "it has no rows"),
            ("nom\nalice", r'line 1 must name the columns.*"nom"'),
            ("name,name\na,b", "line 1"),
            ("name\na\nA", 'line 3: "A" stands in line 2 too'),
            ("name\na,b", "line 2: 2 fields, and the header has 1"),
            ("name,days\na,x", 'line 2: "x" is no number'),
            ("name,days\na,99999", "line 2: a certificate cannot live"),
            ("name\na/b\n=cmd()|x/y", "line 2: .*; line 3: "),
            ('name\n"a', "no CSV"),
            ("name\na\x00", "line 2"),
            ("name\n" + "x" * 200_000, "no CSV|line 2"),
            ("name\n" + "\n".join(["a/"] * 20), "and 15 more"),
        ],
    )
    def test_what_is_wrong_is_told_with_its_line(self, text: str, why: str) -> None:
        with pytest.raises(UsageError, match=why) as caught:
            read_table(text.encode(), "clients.csv", DEFAULTS)
        assert caught.value.code == "client-table"
        assert str(caught.value).isprintable()

    @given(
        st.binary(max_size=400)
        | st.text(max_size=200).map(lambda text: b"name\n" + text.encode("utf-8", "replace"))
    )
    def test_any_bytes(self, data: bytes) -> None:
        if error := refusal(lambda: read_table(data, "clients.csv", DEFAULTS)):
            assert error.code == "client-table"
            return
        for row in read_table(data, "clients.csv", DEFAULTS):
            row.check()


class TestBatch:
    @pytest.fixture
    def issuer(self, state: State, clock):
        def ask(applications):
            order = {"order": "client-issue", "applications": list(applications), "skipping": True}
            return carry_out(order, state=state, policy=POLICY, clock=clock)

        return ask

    def known(self, state: State):
        if not state.store.exists():
            return lambda _: ""
        with Store.open(state.store, read_only=True) as store:
            held = {one.name: one.pem for one in Register(store).all()}
        return lambda name: held.get(name, "")

    def test_all_of_them_and_again(self, state: State, issuer, tmp_path: Path) -> None:
        asked = [Asked(name=f"c{n}", groups=("g",)) for n in range(450)]
        told: list[int] = []
        done = issue_table(asked, tmp_path / "out", issuer, self.known(state), told=told.append)
        assert (done.issued, done.resumed, done.there, done.elsewhere) == (450, 0, 0, ())
        assert sum(told) == 450
        assert whole_pairs(tmp_path / "out", state) == 450
        assert not list((tmp_path / "out").glob(".*"))
        again = issue_table([*asked, Asked(name="new")], tmp_path / "out", issuer, self.known(state))
        assert (again.issued, again.there) == (1, 450)
        elsewhere = issue_table(asked[:2], tmp_path / "other", issuer, self.known(state))
        assert elsewhere.elsewhere == ("c0", "c1")

    def test_rows_with_many_names_still_fit_into_a_line_of_the_control_socket(
        self, state: State, issuer, tmp_path: Path
    ) -> None:
        longest: list[int] = []

        def weighed(applications):
            answer = issuer(applications)
            longest.append(max(len(json.dumps(applications)), len(json.dumps(answer))))
            return answer

        uris = tuple(f"urn:{'x' * 480}:{n}" for n in range(60))
        asked = [Asked(name=f"c{n}", uris=uris) for n in range(8)]
        assert issue_table(asked, tmp_path / "out", weighed, self.known(state)).issued == 8
        assert len(longest) > 1
        assert max(longest) < 1024 * 1024

    def test_files_of_others_are_not_replaced(self, state: State, issuer, tmp_path: Path) -> None:
        theirs = write(tmp_path / "c1.key", b"theirs")
        with pytest.raises(UsageError) as caught:
            issue_table([Asked(name="c0"), Asked(name="c1")], tmp_path, issuer, self.known(state))
        assert caught.value.code == "client-file-exists"
        assert theirs.read_bytes() == b"theirs"
        assert not state.store.exists(), "nothing was issued"

    def test_who_dies_before_the_files_are_written_loses_no_key(
        self, state: State, issuer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def dies(*_: object) -> int:
            raise KeyboardInterrupt

        asked = [Asked(name=f"c{n}") for n in range(5)]
        with monkeypatch.context() as patched:
            patched.setattr("sealgate.pki.clients.batch.write_pairs", dies)
            # Completing the run before writes files too, and there was none.
            patched.setattr("sealgate.pki.clients.batch._completed", lambda *_: 0)
            with pytest.raises(KeyboardInterrupt):
                issue_table(asked, tmp_path / "out", issuer, self.known(state))
        journal = tmp_path / "out" / JOURNAL
        assert stat.S_IMODE(journal.stat().st_mode) == 0o600
        with journal.open("ab") as file:
            file.write(b'{"name": "c1", "key": "-----BEG')  # and a line that was cut off
        done = issue_table(asked, tmp_path / "out", issuer, self.known(state))
        assert (done.issued, done.resumed, done.there) == (0, 5, 5)
        assert whole_pairs(tmp_path / "out", state) == 5
        assert not journal.exists()


_HALF = """
import resource, sys
from sealgate.pki.clients.mill import write_pairs
resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
write_pairs(sys.argv[1], [("a", b"k" * 150, b"c")])
"""


def test_half_a_file_is_none(tmp_path: Path) -> None:
    """Where there is room for a part, write(2) writes that, and it is no error yet."""
    done = subprocess.run([sys.executable, "-c", _HALF, str(tmp_path)], capture_output=True, check=False)
    assert b"File too large" in done.stderr
    assert not (tmp_path / "a.key").exists()


def whole_pairs(folder: Path, state: State) -> int:
    """How many NAME.pem there are; each has its key beside it, and is in the store."""
    with Store.open(state.store, read_only=True) as store:
        known = {held.name: held.pem for held in Register(store).all()}
    found = [path for path in folder.glob("*.pem") if path.stem != "root"]
    for path in found:
        leaf = x509.load_pem_x509_certificates(path.read_bytes())[0]
        key = load_pem_private_key(path.with_suffix(".key").read_bytes(), None)
        assert spki(key) == public_spki(leaf)  # type: ignore[arg-type]
        assert known[path.stem].startswith("-----BEGIN")
        assert x509.load_pem_x509_certificate(known[path.stem].encode()) == leaf
    return len(found)


@pytest.mark.parametrize(
    ("rows", "parts"), [(600, (0.5,)), pytest.param(6000, (0.1, 0.5, 0.8), marks=pytest.mark.long)]
)
def test_a_run_that_is_killed_leaves_whole_pairs_and_the_next_one_goes_on(
    tmp_path: Path, rows: int, parts: tuple[float, ...]
) -> None:
    write(tmp_path / "c.csv", b"name\n" + b"".join(b"client-%d\n" % n for n in range(rows)))
    words = [sys.executable, "-m", "sealgate", "client", "add", "--from", "c.csv", "--out", "out"]
    words += ["--state", "state"]
    out, state = tmp_path / "out", State.open(tmp_path / "state")
    for part in parts:
        process = subprocess.Popen(words, cwd=tmp_path, start_new_session=True, stderr=subprocess.DEVNULL)
        end = time.monotonic() + 60
        while process.poll() is None and len(list(out.glob("c*.pem"))) < rows * part:
            assert time.monotonic() < end
            time.sleep(0.002)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(20)
        whole_pairs(out, state)
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert whole_pairs(out, state) == rows
    assert not list(out.glob(".*"))
    with Store.open(state.store, read_only=True) as store:
        assert len(Register(store).all()) == rows, "nobody has two"
