"""Tasks beyond README's two commands: nox -l lists them, nox -s NAME runs one. Needs: pip install nox."""

import os
import shutil

import nox

nox.options.sessions = ["tests", "lint", "native"]
nox.options.default_venv_backend = "venv"
BUILD = "build/native"


@nox.session
def tests(session):
    """The test suite against a wheel built from this tree."""
    session.install(".[test]")
    session.run("pytest", "-n", "auto", *session.posargs)


@nox.session
def lint(session):
    """Formatting, lint and types of Python, Cython and C++."""
    session.install(".[cli,lint]", "nox")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("mypy")
    session.run("cython-lint", "pyledger")
    files = session.run("git", "ls-files", "csrc/*.h", "csrc/*.cpp", "fuzz/*.cpp", external=True, silent=True)
    session.run("clang-format", "--dry-run", "-Werror", *files.split())


@nox.session
def native(session):
    """The C++ tests under AddressSanitizer and UndefinedBehaviorSanitizer (needs doctest)."""
    _native(session, "address,undefined")


@nox.session
def tsan(session):
    """The C++ tests under ThreadSanitizer (needs doctest)."""
    _native(session, "thread")


@nox.session
def old_cpu(session):
    """Import and kernel tests on a CPU of 2008 (needs qemu-user); shows that nothing above the baseline leaks."""
    session.install(".[test]")
    python = shutil.which("python", path=os.pathsep.join(session.bin_paths))
    session.run("qemu-x86_64", "-cpu", "Nehalem", python, "tests/support/old_cpu.py", external=True)


@nox.session
def random_signatures(session):
    """A million random and mutated signatures on every kernel against cryptography, a part against the twin."""
    session.install(".[test]")
    session.run(
        "pytest", "tests/crypto/test_ed25519.py", "-k", "random_and_mutated", "-n", "auto", *session.posargs,
        env={"PYLEDGER_ED25519_RANDOM": "85000"},
    )  # fmt: skip


@nox.session
def bench(session):
    """The benchmarks, then their ratio tables; PostgreSQL's server and NATS are peers (Debian: postgresql)."""
    session.install(".[bench]")
    session.run("python", "-m", "pytest", "bench", "--benchmark-json=bench.json", *session.posargs)
    session.run("python", "bench/report.py", "bench.json")


@nox.session
def fuzz(session):
    """Each fuzz target for a minute, or as long as `-- SECONDS` says (needs clang and libFuzzer)."""
    seconds = session.posargs[0] if session.posargs else "60"
    folder = "build/fuzz"
    session.install("cmake", "ninja")
    session.run(
        "cmake", "-S", ".", "-B", folder, "-G", "Ninja", "-DPYLEDGER_FUZZ=ON", "-DCMAKE_BUILD_TYPE=RelWithDebInfo",
        "-DPYLEDGER_SANITIZE=address,undefined", env=_clang(),
    )  # fmt: skip
    session.run("cmake", "--build", folder)
    for target in sorted(os.listdir(f"{folder}/fuzz")):
        if target.startswith("fuzz_") and os.access(f"{folder}/fuzz/{target}", os.X_OK):
            corpora = _corpora(folder, target.removeprefix("fuzz_"))
            session.run(f"{folder}/fuzz/{target}", *corpora, f"-max_total_time={seconds}", external=True)


def _corpora(folder, name):
    """The folder where libFuzzer keeps what it finds, and the seeds it starts from, if there are any."""
    corpus, seeds = f"{folder}/corpus/{name}", f"fuzz/seeds/{name}"
    os.makedirs(corpus, exist_ok=True)
    return [corpus, seeds] if os.path.isdir(seeds) else [corpus]


@nox.session
def faults(session):
    """The journal under faults, at full length (docs/faults.md); about 20 minutes. Needs doctest."""
    folder = "build/faults"
    session.install("cmake", "ninja", "pip", ".[test]")
    session.run(
        "cmake", "-S", ".", "-B", folder, "-G", "Ninja", "-DPYLEDGER_NATIVE_TESTS=ON", "-DCMAKE_BUILD_TYPE=Release"
    )
    commands = ["journal_crash_states", "journal_bit_flips"]
    session.run("cmake", "--build", folder, "--target", "test_journal", *commands)
    session.run(f"{folder}/csrc/journal/test_journal", external=True)
    for command in commands:
        session.run(f"{folder}/csrc/journal/{command}", external=True)
    session.run("python", "-P", "tests/faults/kill_journal.py", *session.posargs)
    session.run("pytest", "tests/ledger/test_journal_faults.py", "-k", "full_disk")


@nox.session
def soak(session):
    """An hour of posting with a kill every 30 seconds, or as `-- --minutes N` says (docs/faults.md)."""
    session.install(".[arrow]")
    session.run("python", "-P", "tests/faults/soak.py", *session.posargs)


@nox.session
def mutants(session):
    """One-line changes that break a rule of the journal, BLS or consensus; the tests must kill each. Needs doctest."""
    session.install("cmake", "ninja", "scikit-build-core", "pybind11", "cython", "cython-cmake", "numpy", ".[test]")
    for family in ("journal", "bls", "consensus"):
        session.run("python", f"tests/mutants/run_{family}.py", *session.posargs)


def _native(session, sanitizers):
    folder = f"{BUILD}-{sanitizers.replace(',', '-')}"
    session.install("cmake", "ninja", "pip")
    session.run(
        "cmake", "-S", ".", "-B", folder, "-G", "Ninja", "-DPYLEDGER_NATIVE_TESTS=ON", "-DPYLEDGER_VERIFY=ON",
        "-DCMAKE_BUILD_TYPE=RelWithDebInfo", f"-DPYLEDGER_SANITIZE={sanitizers}",
    )  # fmt: skip
    session.run("cmake", "--build", folder)
    session.run("ctest", "--test-dir", folder, "--output-on-failure")


def _clang():
    """Names of the compilers that have libFuzzer: plain clang, or Debian's with its version."""
    for suffix in ("", *(f"-{version}" for version in range(21, 13, -1))):
        if shutil.which(f"clang{suffix}") and shutil.which(f"clang++{suffix}"):
            return {"CC": f"clang{suffix}", "CXX": f"clang++{suffix}"}
    raise SystemExit("fuzz: clang and clang++ are needed, 14 or newer (Debian: clang-14 libclang-rt-14-dev)")
