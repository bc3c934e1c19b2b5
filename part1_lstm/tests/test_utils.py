"""utils.py on machines that are not like this one, each made by one patch; for part 2 too: see .ci/test_twins.py."""

import errno
import fcntl
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import utils


def test_files_are_flushed_by_a_handle_that_may_write(tmp_path, monkeypatch):
    """Windows flushes no other: os.fsync fails there on a file that is open for reading alone."""
    fsync = os.fsync

    def strict(handle):
        if fcntl.fcntl(handle, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
            raise OSError(errno.EBADF, "Bad file descriptor")
        fsync(handle)

    monkeypatch.setattr(os, "fsync", strict)
    utils.save_json(tmp_path / "a.json", {"numbers": [1, 2]})
    assert (tmp_path / "a.json").read_text() == '{\n "numbers": [1, 2]\n}\n'


@pytest.fixture
def study(tmp_path, monkeypatch):
    """A function that parses the options of a script study.py, whose result of three seeds lies in the repository."""
    monkeypatch.setattr(utils, "RESULTS", tmp_path)
    monkeypatch.setattr(sys, "argv", ["folder/study.py"])
    utils.save_json(tmp_path / "study.json", {"config": {"seeds": 3, "lengths": [1, 2], "workers": 8, "gone": 1}})
    parser = utils.Parser("Study.")
    parser.add_argument("--seeds", type=int, default=3, help="how many (default: the repository's 3)")
    parser.add_argument("--lengths", type=int, nargs="+", default=(1, 2), help="how long")
    parser.add_argument("--workers", type=int, help="at once")
    parser.add_argument("--restart", action="store_true", help="again")
    parser.add_argument("--keep", action="store_true", help="more")
    utils.add_common_options(parser)
    return parser


def test_figures_go_where_results_are_sent_to(study):
    for words, folders in [
        ([], (utils.RESULTS, utils.FIGURES)),
        (["--out-dir", "mine"], (Path("mine"), Path("mine"))),
        (["--out-dir", "mine", "--figures-dir", "other"], (Path("mine"), Path("other"))),
    ]:
        args = study.parse_args(words)
        assert (args.out_dir, args.figures_dir) == folders


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("--seeds 2", "seeds 3, not 2: --out-dir mine keeps it"),
        ("--lengths 1", r"lengths \[1, 2\], not \[1\]"),
        ("--seeds 4 --workers 2", None),
        ("--seeds 2 --keep", None),
        ("--lengths 1 --out-dir mine", None),
    ],
)
def test_a_result_in_the_repository_is_not_replaced_by_less(study, capsys, words, told):
    if told is None:
        study.parse_args(words.split())
        return
    with pytest.raises(SystemExit, match="2"):
        study.parse_args(words.split())
    assert re.search(rf"study\.json was made with {told}", capsys.readouterr().err)


def test_help_names_each_default_once(study):
    text = " ".join(study.format_help().split())
    for part in "how long (default: (1, 2))", "the repository's 3) --lengths", "at once --restart again --keep":
        assert part in text
    assert "(default: 0) --device" in text


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.ENOSYS, None])
def test_a_file_system_without_locks_gives_a_warning(tmp_path, monkeypatch, capsys, code):
    def refuse(*_):
        raise OSError(code, os.strerror(code))

    if code is None:
        monkeypatch.setattr(utils, "fcntl", None)  # Windows
    else:
        monkeypatch.setattr(utils.fcntl, "flock", refuse)
    with utils.hold(tmp_path / "run"):
        pass
    assert capsys.readouterr().err.count("has no locks") == 1


def test_the_users_matplotlib_settings_have_no_part(tmp_path):
    (tmp_path / "matplotlibrc").write_text("text.usetex: True\nsavefig.bbox: tight\nbackend: TkAgg\n")
    code = "import utils; figure = utils.plt.figure(); figure.suptitle('x'); figure.savefig('a.png'); "
    code += "assert utils.plt.get_backend() == 'Agg' and utils.plt.rcParams['savefig.bbox'] is None"
    environment = {"MPLBACKEND": "module://matplotlib_inline.backend_inline", "PYTHONPATH": str(utils.HERE)}
    environment = os.environ | environment | {"MATPLOTLIBRC": str(tmp_path)}
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, check=True)


def test_only_this_repositorys_commit_is_recorded(tmp_path, monkeypatch):
    git = shutil.which("git")
    if not git:
        pytest.skip("git is not installed")
    identity = ["-c", "user.name=a", "-c", "user.email=a"]
    for command in ["init", "-q"], [*identity, "commit", "-q", "--allow-empty", "-m", "other"]:
        subprocess.run([git, *command], cwd=tmp_path, check=True)
    (tmp_path / "utils.py").touch()
    monkeypatch.setattr(utils, "HERE", tmp_path)
    assert utils.git_state.__wrapped__() == (None, None)  # in another repository, which does not track this code
    subprocess.run([git, "add", "utils.py"], cwd=tmp_path, check=True)
    commit, clean = utils.git_state.__wrapped__()
    assert (len(commit), clean) == (40, False)
    monkeypatch.setenv("GIT_DIR", "/gone")  # left over from a hook, say
    assert utils.git_state.__wrapped__() == (commit, False)


@pytest.mark.parametrize("text", ["", "{", "[]", "\xff", '{"other": 1}'])
def test_damaged_json_is_one_line(tmp_path, text):
    (tmp_path / "a.json").write_text(text, encoding="latin-1")
    with pytest.raises(utils.InputError, match=r"a\.json: ") as error:
        utils.load_json(tmp_path / "a.json", "wanted")
    assert "\n" not in str(error.value)
    with pytest.raises(utils.InputError, match="no such file"):
        utils.load_json(tmp_path / "b.json")


def test_damaged_tensors_are_one_line(tmp_path):
    path = tmp_path / "a.pt"
    utils.save_checkpoint(path, {"kind": "a", "weights": torch.zeros(100)})
    assert len(utils.load_tensors(path, "weights")["weights"]) == 100
    whole = path.read_bytes()
    spoiled = whole[:-200], whole.replace(b"\0" * 40, b"\1" * 40, 1), b"", b"text"
    for content in spoiled:
        path.write_bytes(content)
        with pytest.raises(utils.InputError, match="can be read"):
            utils.load_tensors(path)
    path.write_bytes(whole)
    for call in lambda: utils.load_tensors(path, "other"), lambda: utils.load_checkpoint(path, "b"):
        with pytest.raises(utils.InputError, match="this file"):
            call()


LEFTOVERS = [
    {"WORLD_SIZE": ""},
    {"WORLD_SIZE": "2"},
    {"RANK": ""},
    {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "x"},
    {"RANK": "2", "LOCAL_RANK": "0", "WORLD_SIZE": "2"},
]


@pytest.mark.parametrize("variables", LEFTOVERS)
def test_leftovers_of_another_job_are_named(monkeypatch, variables):
    for name in "RANK", "LOCAL_RANK", "WORLD_SIZE":
        monkeypatch.delenv(name, raising=False)
    assert utils.process_environment() == (0, 0, 1)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(utils.InputError, match="unset "):
        utils.process_environment()


def test_a_port_in_use_is_one_line(monkeypatch):
    for name, value in {"RANK": 0, "LOCAL_RANK": 0, "WORLD_SIZE": 2, "MASTER_PORT": 1}.items():
        monkeypatch.setenv(name, str(value))
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")

    def refuse(*_, **__):
        raise torch.distributed.DistNetworkError("The server socket has failed to listen: EADDRINUSE\nmore")

    monkeypatch.setattr(torch.distributed, "init_process_group", refuse)
    with pytest.raises(utils.InputError, match="MASTER_PORT=1: .*EADDRINUSE") as error:
        utils.join_ranks()
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (utils.InputError("a"), 2, "a"),
        (FloatingPointError("b"), 1, "b"),
        (OSError(errno.ENOSPC, "full", "c"), 1, "full"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory\nmore"), 1, "too little memory"),
        (MemoryError(), 1, "too little memory (MemoryError)"),
        (KeyboardInterrupt(), 130, "stopped; the same command goes on"),
    ],
)
def test_errors_are_one_line_and_an_exit_code(capsys, error, code, words):
    def main():
        raise error

    with pytest.raises(SystemExit) as stopped:
        utils.run(main, after_stop="the same command goes on")
    assert stopped.value.code == code
    line = capsys.readouterr().err
    assert words in line
    assert line.strip("\n").count("\n") == 0


def test_advice_after_a_restart_can_be_followed(monkeypatch):
    for options, with_resume, without in [
        ([], "the same command with --resume goes on", "the same command goes on"),
        (
            ["--restart"],
            "the same command with --resume instead of --restart goes on",
            "with --restart everything is trained again, without it the same command goes on",
        ),
    ]:
        monkeypatch.setattr(sys, "argv", ["train.py", *options])
        assert utils.without_restart("the same command with --resume goes on") == with_resume
        assert utils.without_restart("the same command goes on") == without
