"""What every script of this part shares: options, errors, device, and files that are written whole.

Both parts carry a file like this one, so that each folder works when it is copied out alone.
"""

import argparse
import errno
import functools
import io
import json
import multiprocessing
import os
import platform
import re
import signal
import subprocess
import sys
import textwrap
import threading
import zipfile
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist
from tqdm import tqdm

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

os.environ["MPLBACKEND"] = "Agg"  # figures are files: no screen is needed, whatever the environment asks for
import matplotlib.pyplot as plt

TITLES = {"mnist": "MNIST", "typeset": "typeset digits, not MNIST"}
HERE = Path(__file__).resolve().parent
FIGURES = HERE.parent / "figures"
RESULTS = HERE.parent / "results" / HERE.name

plt.rcdefaults()  # the user's matplotlibrc does not affect the figures
plt.style.use(HERE / "report.mplstyle")

SAME_RESULT = {"device", "threads", "workers", "restart"}  # options that change no result of a study but the time


class InputError(ValueError):
    """A bad option or input file; `run` prints it as one line and exits with code 2."""


class HelpFormatter(argparse.ArgumentDefaultsHelpFormatter):
    """Adds the default to the help text of an option that has one, unless the text names it."""

    def _get_help_string(self, action):
        has_none = action.default is None or action.default is False or "default" in action.help
        return action.help if has_none else super()._get_help_string(action)


class Parser(argparse.ArgumentParser):
    """argparse with one-line errors, defaults in the help text, no abbreviated options, and output folders chosen."""

    def __init__(self, description):
        super().__init__(description=description, allow_abbrev=False, formatter_class=HelpFormatter)

    def error(self, message):
        self.exit(2, f"{self.prog}: {' '.join(message.split())} (see --help)\n")

    def parse_args(self, args=None, namespace=None):
        args = super().parse_args(args, namespace)
        if "out_dir" in args:
            given = args.out_dir is not None
            choose_folders(args)
            if not given:
                self.keep_larger_result(args)
        return args

    def keep_larger_result(self, args):
        """Refuse, where --out-dir was not given, to replace the script's result of more seeds or of other options.

        That result is OUT_DIR/SCRIPT.json, with its options in `config`; the script has the option --seeds. With --keep
        it adds to that result and checks the options itself.
        """
        path = args.out_dir / f"{Path(sys.argv[0]).stem}.json"
        if "seeds" not in args or getattr(args, "keep", False) or not path.exists():
            return
        made, now = load_json(path).get("config", {}), json.loads(json.dumps(vars(args), default=str))
        for name in (name for name in made if name in now.keys() - SAME_RESULT):
            if now[name] != made[name] and not (name == "seeds" and now[name] > made[name]):
                folders = f"--out-dir {args.out_dir} --figures-dir {args.figures_dir}"
                given = "the default" if now[name] is None else now[name]
                told = f"{path} was made with {name.replace('_', ' ')} {made[name]}, not {given}"
                self.error(f"{told}: --out-dir mine keeps it, {folders} replaces it")


def number(kind, low=None, high=None, above=None, below=None):
    """An argparse type: an int or float within low <= value <= high and above < value < below.

    An int without `high` is at most 2**31 - 1, so that no huge one runs into a limit of some library later.
    """
    if kind is int and high is None and below is None:
        high = 2**31 - 1

    def parse(text):
        try:
            value = kind(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is not {'an integer' if kind is int else 'a number'}") from None
        bounds = [
            (low is None or value >= low, f"at least {low}"),
            (high is None or value <= high, f"at most {high}"),
            (above is None or value > above, f"more than {above}"),
            (below is None or value < below, f"less than {below}"),
        ]
        for holds, wanted in bounds:  # NaN fails every comparison, so it is refused as well
            if not holds:
                raise argparse.ArgumentTypeError(f"{text} is out of range: it must be {wanted}")
        if value in (float("inf"), float("-inf")):
            raise argparse.ArgumentTypeError(f"{text} is out of range: it must be finite")
        return value

    return parse


def add_common_options(parser):
    """Add the options that every script has: seed, device, threads and the two output folders."""
    help = "fixes every random number; of several seeds the first"
    parser.add_argument("--seed", type=number(int, low=0, below=2**31), default=0, help=help)
    parser.add_argument("--device", choices=["auto", "cpu", "cuda", "mps"], default="auto", help="where to compute")
    parser.add_argument(
        "--threads", type=number(int, low=0, high=1024), default=0, help="CPU threads (0: what torch picks)"
    )
    parser.add_argument(
        "--matmul-precision",
        choices=["auto", "highest", "high", "medium"],
        default="auto",
        help="of fp32 matrix products; auto: medium on AMD's processors with AVX-512, else highest",
    )
    add_folder_options(parser)


def add_folder_options(parser):
    """Add the two output folders."""
    help = "folder for results and checkpoints (default: results/part2_gan; typeset digits: a folder in it)"
    parser.add_argument("--out-dir", type=Path, help=help)
    help = "folder for figures (default: --out-dir if given, else figures; typeset digits: a folder in it)"
    parser.add_argument("--figures-dir", type=Path, help=help)


def subfolder(folder, data):
    """Where in `folder` the files of a data set lie: whatever is not MNIST has a subfolder of its own."""
    return folder if data == "mnist" else folder / data


def choose_folders(args):
    """Fill in the output folders that were not given on the command line; figures go where results were sent to."""
    args.figures_dir = args.figures_dir or args.out_dir or subfolder(FIGURES, args.dataset)
    args.out_dir = args.out_dir or subfolder(RESULTS, args.dataset)


def pick_device(args):
    """The torch.device that --device names, with --threads and --matmul-precision put into force.

    `auto` takes the accelerator that torch reports, else the CPU. Raises InputError if that device is not on this
    machine, or does not know that precision.
    """
    name = args.device
    found = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        name = "cuda" if found["cuda"] else "mps" if found["mps"] else "cpu"
    if not found[name]:
        raise InputError(f"--device {name}: torch finds no {name} device on this machine; use --device cpu")
    if name == "cuda":  # under torchrun every process takes a GPU of its own
        torch.cuda.set_device(process_environment()[1] % torch.cuda.device_count())
    if args.threads:
        torch.set_num_threads(args.threads)
    # Numbers below 1e-38 count as 0: with them Intel's processors take ten times as long, and gradients through some
    # hundred digits are that small. Before the first kernel, for the threads to have it from this one.
    torch.set_flush_denormal(True)
    torch.set_float32_matmul_precision(matmul_precision(args.matmul_precision, name))
    return torch.device(name)


def cpu_abilities():
    """What torch knows of the processor's instructions, {name: bool}; {} where torch is too old to tell."""
    return torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}


def matmul_precision(name, device):
    """The setting of torch.set_float32_matmul_precision that --matmul-precision `name` stands for on a kind of device.

    On a CPU "medium" takes oneDNN's products instead of MKL's. On AMD's processors they are as exact, on some twice as
    fast and on others a tenth slower, so `auto` is "medium" there; on Intel's they are slower, or rounded to bfloat16,
    and `auto` is "highest", as on every other device. Raises InputError for a setting that changes nothing there.
    """
    abilities = cpu_abilities() if device == "cpu" else {}
    works = {"highest"}
    if device == "cuda" and torch.cuda.get_device_capability() >= (8, 0):
        works |= {"high", "medium"}
    if all(abilities.get(f"avx512_{part}") for part in ("bw", "dq", "vl")):
        works |= {"medium"}
    if abilities.get("amx_fp16"):
        works |= {"high"}
    if name == "auto":
        return "medium" if "medium" in works and device == "cpu" and "AuthenticAMD" in processor() else "highest"
    if name not in works:
        told = f"this machine's {device}; choose from auto, {', '.join(sorted(works))}"
        raise InputError(f"--matmul-precision {name} has no effect on {told}")
    return name


def processor():
    """The maker and model of the CPU, as the system names them."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:  # not Linux
        return platform.processor()
    found = dict(line.replace("\t", "").split(": ", 1) for line in lines if ": " in line)
    return f"{found.get('vendor_id', '')} {found.get('model name', platform.machine())}".strip()


def process_environment():
    """(rank, local rank, number of processes) from the variables that torchrun sets; (0, 0, 1) without torchrun.

    Raises InputError for leftovers of another job, such as WORLD_SIZE alone.
    """
    names = "RANK", "LOCAL_RANK", "WORLD_SIZE"
    given = {name: os.environ[name] for name in names if name in os.environ}
    if not given:
        return 0, 0, 1
    shown = " ".join(f"{name}={value}" for name, value in given.items())
    if missing := [name for name in names if name not in given]:
        raise InputError(f"{shown} without {' and '.join(missing)}: start with torchrun, or unset {' '.join(given)}")
    try:
        rank, local_rank, world = (int(given[name]) for name in names)
        if not 0 <= local_rank <= rank < world:
            raise ValueError
    except ValueError:
        raise InputError(f"{shown}: no rank of a number of processes; unset {' '.join(names)}") from None
    return rank, local_rank, world


def join_ranks(device=None, hours=240):
    """This process's rank and the number of processes that torchrun started; (0, 1) without torchrun.

    The processes talk over nccl on CUDA and gloo elsewhere; one that waits `hours` for another gives up.
    Raises InputError if they cannot meet, at a port that is in use, say.
    """
    rank, _, world = process_environment()
    if world > 1 and not dist.is_initialized():
        backend = "nccl" if device and device.type == "cuda" else "gloo"
        try:
            dist.init_process_group(backend, timeout=timedelta(hours=hours))
        except (RuntimeError, ValueError) as error:
            where = f"MASTER_ADDR={os.environ.get('MASTER_ADDR')} MASTER_PORT={os.environ.get('MASTER_PORT')}"
            reason = str(error).split("\n")[0][:200]
            raise InputError(f"{where}: the processes cannot meet there ({reason}); try another port") from None
    return rank, world


def prepare_worker():
    """Start a worker process of a pool: the parent alone handles Ctrl-C, and the worker ends when its parent does."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def end_with_parent():
        multiprocessing.parent_process().join()
        os._exit(1)

    threading.Thread(target=end_with_parent, daemon=True).start()
    tqdm.set_lock(threading.RLock())  # its own lock is a system-wide semaphore, which outlives a worker that is ended


def make_folder(*folders):
    """Make folders, with those above them, where they are not there; raises InputError if one cannot be written in."""
    for folder in folders:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"{folder}: this folder cannot be made ({error.strerror}); name another one") from None
        if not os.access(folder, os.W_OK):
            raise InputError(f"{folder}: nothing can be written in this folder; name another one")


@contextmanager
def hold(folder, args=None):
    """Make `folder` and keep other runs out of it until the block ends.

    The operating system frees the lock when its process ends, however it ends: a killed run leaves no obstacle. Where
    there are no locks (Windows, some network file systems) a warning says so. Raises InputError if another process
    holds the folder, and, with the options `args` of a run, if a run lies there and neither args.resume nor
    args.restart is set.
    """
    make_folder(folder)
    with open(folder / ".lock", "w") as lock:
        try:
            if fcntl is None:
                raise OSError(errno.ENOSYS, "no fcntl")
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(f"{folder}: another run is at work in this folder; wait for it, or name another") from None
        except OSError as error:
            if error.errno not in (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP):
                raise
            print(f"{folder}: this file system has no locks; start no second run in this folder", file=sys.stderr)
        if args and args.resume and args.restart:
            raise InputError("--resume and --restart: give one of them")
        there = any((folder / name).exists() for name in ("checkpoint.pt", "result.json"))
        if args and there and not (args.resume or args.restart):
            raise InputError(f"{folder}: a run lies here already; --resume continues it, --restart replaces it")
        for leftover in folder.glob(".*.tmp.*"):  # half-written files of a run that was killed
            leftover.unlink()
        yield


@contextmanager
def written_whole(path):
    """Yield a temporary path beside `path` and rename it to `path` once its bytes are on disk.

    A reader sees the old file or the new one, never half of one, also when the process is killed or the disk is full.
    The folder has to exist: one that was deleted under a run is an error, not something to make again unasked.
    """
    path = Path(path)
    temporary = path.with_name(f".{os.getpid()}.tmp.{path.name}")
    try:
        yield temporary
        with open(temporary, "r+b") as file:  # Windows flushes no file that is open for reading alone
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:  # a full disk does not say which file it was
        raise OSError(error.errno, error.strerror, str(path)) from None
    finally:
        temporary.unlink(missing_ok=True)


def save_json(path, data):
    """Write `data` as indented JSON, a list of plain values on one line, whole or not at all."""
    text = json.dumps(data, indent=1, default=str)
    text = re.sub(r"\[\s([^][{}]*)\s\]", lambda match: f"[{' '.join(match[1].split())}]", text)
    with written_whole(path) as temporary:
        temporary.write_text(text + "\n")


def save_checkpoint(path, checkpoint):
    """Write a dictionary of tensors and plain values with torch.save, whole or not at all."""
    buffer = io.BytesIO()  # in memory first: writing by itself, torch answers a full disk with an error in C++
    torch.save(checkpoint, buffer)
    with written_whole(path) as temporary:
        temporary.write_bytes(buffer.getbuffer())


def load_json(path, *keys):
    """The dictionary that a JSON file holds, which has all of `keys`.

    Raises InputError, in one line, if the file is missing, damaged, or holds something else.
    """
    try:
        data = json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path}: there is no such file") from None
    except (OSError, ValueError) as error:  # bad JSON and bad UTF-8 are ValueErrors
        raise InputError(f"{path}: this JSON file cannot be read ({error})") from None
    return checked(path, data, keys)


def load_tensors(path, *keys, device="cpu"):
    """The dictionary of tensors and plain values that a file of torch.save holds; nothing in the file is run.

    Raises InputError, in one line, if the file is missing, damaged, or does not have all of `keys`.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            if damaged := archive.testzip():  # torch reads flipped bits without a word
                raise ValueError(f"{damaged} in it is damaged")
        data = torch.load(path, map_location=device, weights_only=True)
    except FileNotFoundError:
        raise InputError(f"{path}: there is no such file") from None
    except Exception as error:  # torch raises many kinds for a damaged or foreign file
        reason = str(error).split("\n")[0][:120]
        raise InputError(f"{path}: this is not a checkpoint that can be read ({reason})") from None
    return checked(path, data, keys)


def checked(path, data, keys):
    """`data`, read from `path`; raises InputError if it is no dictionary or one of `keys` is missing."""
    if not isinstance(data, dict):
        raise InputError(f"{path}: this file holds a {type(data).__name__}, not a dictionary")
    if missing := [key for key in keys if key not in data]:
        raise InputError(f"{path}: this file has no {', '.join(map(repr, missing))}")
    return data


def load_checkpoint(path, kind, device="cpu"):
    """load_tensors for a file whose entry `kind` says what it holds; raises InputError if that is something else."""
    checkpoint = load_tensors(path, device=device)
    if checkpoint.get("kind") != kind:
        raise InputError(f"{path}: a checkpoint of kind {kind!r} is needed, this file holds {checkpoint.get('kind')!r}")
    return checkpoint


def check_finite(message, *networks):
    """Raise FloatingPointError, `message` with the names of the bad tensors, if parameters or buffers are not finite.

    To be called before a checkpoint replaces another one.
    """
    tensors = [(name, tensor) for network in networks for name, tensor in network.state_dict().items()]
    if bad := [name for name, tensor in tensors if not tensor.isfinite().all()]:
        raise FloatingPointError(f"{message}: {', '.join(bad[:3])} {'is' if len(bad) == 1 else 'are'} not finite")


def save_figure(figure, path, source, data):
    """Write a figure as PNG: source (seeds, settings) and commit as a small line at its foot, stand-in data on top."""
    if data != "mnist":
        # At the left, beside a legend outside the axes, which layouts put at the same height.
        figure.suptitle(TITLES[data], x=0.01, ha="left", color="firebrick", fontweight="bold")
    commit, clean = git_state()
    drawn = f"; drawn by commit {commit[:7]}{'' if clean else ' with changes'}" if commit else ""
    source = textwrap.fill(source + drawn, int(20 * figure.get_figwidth()))
    figure.supxlabel(source, x=0.005, ha="left", fontsize=6.5, color="0.35")
    with written_whole(path) as temporary:
        figure.savefig(temporary)
    plt.close(figure)


def label_plainly(axis):
    """Label a logarithmic axis of one to three decades, axes.yaxis say, with 200 and not 2 x 10^2."""
    low, high = axis.get_view_interval()
    axis.set_major_locator(plt.LogLocator(subs=(1, 2, 5) if high < 50 * low else (1, 3)))
    axis.set_major_formatter("{x:g}")
    axis.set_minor_locator(plt.NullLocator())


@functools.cache
def git_state():
    """The commit of this code and whether it has no changes; two Nones where no git repository holds this file."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}

    def git(*command):
        answer = subprocess.run(["git", "-C", HERE, *command], capture_output=True, text=True, env=environment)
        return answer.stdout.strip() if answer.returncode == 0 else None

    try:  # unpacked in a folder that another repository ignores, the code has no commit
        commit = git("rev-parse", "HEAD") if git("ls-files", "--error-unmatch", Path(__file__).name) else None
        return commit, None if commit is None else git("status", "--porcelain", "--", ".") == ""
    except OSError:  # git is not installed
        return None, None


def provenance(device):
    """Where a result comes from: versions, device, threads, and the git commit of the code."""
    commit, clean = git_state()
    return {
        "torch": str(torch.__version__),
        "python": platform.python_version(),
        "device": torch.cuda.get_device_name() if device.type == "cuda" else f"{device.type} ({platform.machine()})",
        "processor": processor(),
        "threads": torch.get_num_threads(),
        "matmul_precision": torch.get_float32_matmul_precision(),
        "git_commit": commit,
        "git_clean": clean,
    }


def without_restart(advice):
    """Advice to give "the same command" again, or with --resume, for a command that has --restart itself."""
    if "--restart" not in sys.argv:
        return advice
    if "with --resume" in advice:
        return advice.replace("with --resume", "with --resume instead of --restart")
    return advice.replace("the same command", "with --restart everything is trained again, without it the same command")


def run(main, after_stop="the same command goes on where it was"):
    """Call `main` as a script: errors that a user can fix are printed as one line, not a traceback.

    Exit codes: 2 bad options or input; 1 a failed disk, too little memory, a run that diverged; 130 Ctrl-C, answered
    with `after_stop`.
    """
    try:
        main()
        return
    except InputError as error:
        code, line = 2, error
    except (OSError, FloatingPointError) as error:  # a full disk, a folder that is gone, a loss that is NaN
        code, line = 1, error
    except (MemoryError, RuntimeError) as error:
        if not isinstance(error, MemoryError) and "alloc" not in str(error) and "out of memory" not in str(error):
            raise
        what = (str(error).splitlines() or ["MemoryError"])[0][:200]
        code, line = 1, f"too little memory ({what}); a smaller network or batch needs less"
    except KeyboardInterrupt:
        code, line = 130, f"stopped; {after_stop}"
    print(f"{Path(sys.argv[0]).name}: {without_restart(str(line))}", file=sys.stderr)
    sys.exit(code)
