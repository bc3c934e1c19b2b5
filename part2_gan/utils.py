"""What every script shares: options, errors, the device, figures, progress. The same file in both parts."""

import argparse
import contextlib
import functools
import math
import os
import platform
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import matplotlib.style
import torch
from tqdm import tqdm

from files import InputError, first_line, written_whole

HERE = Path(__file__).resolve().parent
FIGURES, RESULTS = HERE.parent / "figures", HERE.parent / "results" / HERE.name
TITLES = {"mnist": "MNIST", "typeset": "typeset digits, not MNIST"}


class Help(argparse.ArgumentDefaultsHelpFormatter):  # argparse's own would add (default: None)
    def _get_help_string(self, action):
        named = action.default is None or action.default is False or "default" in action.help
        return action.help if named else super()._get_help_string(action)


class Parser(argparse.ArgumentParser):
    """argparse with one-line errors, defaults in the help, no abbreviated options, output folders filled in."""

    def __init__(self, description):
        super().__init__(description=description, allow_abbrev=False, formatter_class=Help)

    def error(self, message):
        self.exit(2, f"{self.prog}: {' '.join(message.split())} (see --help)\n")

    def parse_args(self, args=None, namespace=None):
        args = super().parse_args(args, namespace)
        data = getattr(args, "dataset", "mnist")  # whatever is not MNIST has a folder of its own
        figures, results = (folder if data == "mnist" else folder / data for folder in (FIGURES, RESULTS))
        args.figures_dir = args.figures_dir or args.out_dir or figures
        args.out_dir = args.out_dir or results
        return args


def number(kind, low=-math.inf, high=math.inf, above=-math.inf, below=math.inf):
    """An argparse type: a finite int or float with low <= value <= high and above < value < below."""
    high = 2**31 - 1 if kind is int and high == math.inf else high
    limits = {"at least": low, "at most": high, "more than": above, "less than": below}
    wanted = " and ".join(f"{name} {limit:g}" for name, limit in limits.items() if math.isfinite(limit))

    def parse(text):
        value = kind(text)
        if not (low <= value <= high and above < value < below and math.isfinite(value)):
            raise argparse.ArgumentTypeError(f"{text} is out of range: it must be {wanted or 'finite'}")
        return value

    parse.__name__ = "number" if kind is float else "whole number"  # argparse: invalid whole number value: 'x'
    return parse


def path(text):
    """An argparse type: a path, ~ being the home folder."""
    return Path(text).expanduser()


def add_folders(parser):
    """Add the options that say where to write."""
    add = parser.add_argument
    add("--out-dir", type=path, help="folder for results (default: the repository's)")
    add("--figures-dir", type=path, help="folder for figures (default: --out-dir, else the repository's)")


def add_options(parser, threads):
    """Add the options that every script has: the seed, where to compute, and where to write."""
    add = parser.add_argument
    add("--seed", type=number(int, low=0), default=0, help="fixes every random number; of several seeds the first")
    add("--device", choices=["auto", "cpu", "cuda", "mps"], default="auto", help="where to compute")
    add("--threads", type=number(int, low=1, high=1024), default=threads, help="CPU threads of a run")
    add_folders(parser)


def pick_device(args):
    """The torch.device that --device names, with --threads in force; InputError if it is not here or not usable."""
    usable = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    name = next(name for name in usable if usable[name]) if args.device == "auto" else args.device
    torch.set_num_threads(args.threads)
    # Numbers below 1e-38 count as 0: Intel's processors take ten times as long with them.
    torch.set_flush_denormal(True)
    # On a CPU "medium" takes oneDNN's products for MKL's: on AMD's with AVX-512 as exact and up to twice as fast.
    fast = name == "cpu" and "AuthenticAMD" in processor() and torch.backends.cpu.get_cpu_capability() == "AVX512"
    torch.set_float32_matmul_precision("medium" if fast else "highest")
    try:
        if name == "cuda":  # under torchrun every process takes a GPU of its own
            torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", 0)) % torch.cuda.device_count())
        torch.ones(2, 2, device=name) @ torch.ones(2, 2, device=name)
    except (AssertionError, RuntimeError, ZeroDivisionError) as error:
        raise InputError(f"--device {name}: torch cannot use it ({first_line(error)}); use --device cpu") from None
    return torch.device(name)


@functools.cache
def processor():
    """The maker and model of the CPU, as the system names them."""
    info = Path("/proc/cpuinfo")  # Linux
    names = re.findall(r"(?:vendor_id|model name)\s*: (.*)", info.read_text()) if info.exists() else []
    return " ".join(names[:2]) or platform.processor()


@functools.cache
def commit():
    """The commit of this code, "-dirty" added if the part's files differ from it; None outside its repository."""

    def git(*arguments):
        command = ["git", "-C", HERE, "-c", "safe.directory=*", *arguments]
        return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)

    with contextlib.suppress(OSError):  # git is not installed
        if git("ls-files", "--error-unmatch", "utils.py").returncode == 0:
            changed = git("diff", "--quiet", "HEAD", "--", ".").returncode > 0
            return git("rev-parse", "--short=7", "HEAD").stdout.decode().strip() + "-dirty" * changed


def provenance(device):
    """Where a row comes from: versions, processor, device, threads, commit."""
    return {
        "torch": str(torch.__version__),
        "python": platform.python_version(),
        "processor": processor(),
        "device": torch.cuda.get_device_name() if device.type == "cuda" else device.type,
        "threads": torch.get_num_threads(),
        "matmul_precision": torch.get_float32_matmul_precision(),
        "commit": commit(),
    }


def style():
    """A context with the figures' look; a notebook's, or a user's matplotlibrc, stays outside."""
    return matplotlib.style.context(HERE / "report.mplstyle", after_reset=True)


def save_figure(figure, path, foot, data="mnist", quiet=False):
    """Write a matplotlib Figure as PNG, a short line at its foot; on top a warning where the digits are not MNIST's."""
    if data != "mnist":
        figure.suptitle(TITLES[data], x=0.01, ha="left", color="firebrick", fontweight="bold")
    foot = textwrap.fill(foot, int(17 * figure.get_figwidth()))
    figure.supxlabel(foot, x=0.005, ha="left", fontsize=8, color="0.35")
    path.parent.mkdir(parents=True, exist_ok=True)
    with written_whole(path) as temporary:
        figure.savefig(temporary, format="png")
    if not quiet:
        print(f"figure: {path}")


class ProgressStream:
    """stderr for a progress bar: in a log a line at a time; one that is closed or full ends no run."""

    def write(self, text):
        with contextlib.suppress(AttributeError, OSError, ValueError):
            log = text.strip("\r\n") + "\n" if text.strip() else ""
            sys.stderr.write(text if sys.stderr.isatty() else log)
            sys.stderr.flush()

    def flush(self):
        pass


def progress(**options):
    """tqdm's progress bar; in a log, a plain line a minute."""
    if not (sys.stderr and sys.stderr.isatty()):
        options["bar_format"] = "{desc}: {n_fmt} of {total_fmt} {unit}s, {elapsed} so far, {remaining} to go{postfix}"
        options |= {"mininterval": 60, "maxinterval": 60, "position": 0}
    return tqdm(file=ProgressStream(), **options)


def run(main, after_stop="the same command goes on where it was"):
    """Call `main` as a script: errors that a user can fix become one line, not a traceback, and exit code 1 or 2."""
    for stream in filter(None, (sys.stdout, sys.stderr)):
        stream.reconfigure(errors="backslashreplace")
    try:
        return main()
    except InputError as error:
        code, line = 2, error
    except (OSError, FloatingPointError) as error:  # a full disk, a folder that is gone, a loss that is NaN
        code, line = 1, error
    except (MemoryError, RuntimeError) as error:
        if not isinstance(error, MemoryError) and "alloc" not in str(error) and "out of memory" not in str(error):
            raise
        code, line = 1, f"too little memory ({first_line(error)}); a smaller network or batch needs less"
    except KeyboardInterrupt:
        code, line = 130, f"stopped; {after_stop}"
    print(f"{Path(sys.argv[0]).name}: {line}", file=sys.stderr)
    sys.exit(code)
