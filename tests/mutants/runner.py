"""What the hunts for mutants share: change one line of a scratch copy at a time, ask what kills it, restore, count."""

import os
import queue
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

# What CMakeLists.txt of a scratch project needs for the parts of csrc.
CMAKE_PARTS = """
function(pyledger_library name)
  cmake_parse_arguments(arg "" "" "SOURCES;LINKS" ${ARGN})
  add_library(pyledger_${name} STATIC ${arg_SOURCES})
  target_include_directories(pyledger_${name} PUBLIC "${PROJECT_SOURCE_DIR}/csrc")
  target_link_libraries(pyledger_${name} PUBLIC ${arg_LINKS})
endfunction()
function(pyledger_row file)
  set_source_files_properties(${file} PROPERTIES COMPILE_OPTIONS "${ARGN}")
endfunction()
function(pyledger_native_test name source library)
  add_executable(test_${name} EXCLUDE_FROM_ALL ${source})
  target_link_libraries(test_${name} PRIVATE ${library})
endfunction()
if(CMAKE_SYSTEM_PROCESSOR MATCHES "^(x86_64|AMD64|amd64)$")
  set(PYLEDGER_X86 ON)
endif()
find_package(Threads REQUIRED)
"""


class NoAnswer(Exception):
    """What was run says neither that the tests pass nor that they fail."""


def run(command, folder, seconds=900, passing=(0,), failing=None, **environment):
    """Run quietly; give success and what was said: the test that failed, else the last lines. What does not end fails.

    `passing` are the exit statuses that count as success, `failing` those that count as failure (None: all others);
    NoAnswer for any other.
    """
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            env={**os.environ, **environment},
            text=True,
            capture_output=True,
            check=False,
            timeout=seconds,
        )
    except subprocess.TimeoutExpired:
        return False, f"{command[0]}: did not end"
    lines = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
    failed = [line for line in lines if line.startswith(("FAILED", "ERROR"))]
    said = failed[-1] if failed else "\n".join(lines[-8:])
    if failing is not None and done.returncode not in (*passing, *failing):
        raise NoAnswer(f"{said}\nexit status {done.returncode}")
    return done.returncode in passing, said


def configure(folder, project, *options):
    """Write the scratch project's CMakeLists.txt and configure it in `build`."""
    (folder / "CMakeLists.txt").write_text(project)
    done, said = run(["cmake", "-S", ".", "-B", "build", "-DCMAKE_BUILD_TYPE=Release", *options], folder)
    if not done:
        raise SystemExit(said)


def build(folder, *options):
    """Build the scratch project; a mutant that does not build is none."""
    built, said = run(["cmake", "--build", "build", *options], folder)
    if not built:
        raise SystemExit(f"does not build:\n{said}")


def hunt(mutants, wanted, prepare, killer, below=".", jobs=1):
    """Print one line a mutant; give 1 if one survives or cannot be judged.

    Parameters
    ----------
    mutants : list of (name, file, old, new)
        `old` stands in the file exactly once.
    wanted : list of str
        Parts of names; all mutants if there are none.
    prepare : callable
        Given an empty folder, makes a scratch copy in it.
    killer : callable
        Given the folder and the files that the mutants change, says what fails; None if nothing does. Asked about the
        tree as it is, with all the files, before it is asked about each mutant.
    below : str
        Where in the folder the files stand.
    jobs : int
        How many mutants are judged at a time, each in a copy of its own.
    """
    chosen = [each for each in mutants if not wanted or any(part in each[0] for part in wanted)]
    copies = queue.SimpleQueue()

    def judge(mutant):
        _, file, old, new = mutant
        folder = copies.get()
        try:
            return _judged(folder, killer, below, (file, old, new))
        finally:
            copies.put(folder)

    verdicts = []
    with tempfile.TemporaryDirectory() as scratch, ThreadPoolExecutor(jobs) as pool:
        for number in range(jobs):
            folder = Path(scratch) / str(number)
            folder.mkdir()
            prepare(folder)
            copies.put(folder)
        if (found := killer(folder, sorted({file for _, file, _, _ in chosen}))) is not None:
            raise SystemExit(f"the tree itself does not pass: {found}")
        for (name, *_), (verdict, said) in zip(chosen, pool.map(judge, chosen), strict=True):
            verdicts.append(verdict)
            print(f"{verdict:10}{name}{': ' if said else ''}{said}", flush=True)
    print(f"{verdicts.count('killed')} of {len(chosen)} killed")
    return int(verdicts.count("killed") < len(chosen))


def _judged(folder, killer, below, change):
    """The verdict on a mutant, and the last line of what was said."""
    try:
        found = _killed_by(folder, killer, below, change)
    except NoAnswer as error:
        return "NO ANSWER", " / ".join(str(error).splitlines()[-2:])
    return ("SURVIVED", "") if found is None else ("killed", found.splitlines()[-1])


def _killed_by(folder, killer, below, change):
    file, old, new = change
    place = folder / below / file
    text = place.read_text()
    if text.count(old) != 1:
        raise SystemExit(f"{file}: expected once, found {text.count(old)} times: {old}")
    place.write_text(text.replace(old, new))
    try:
        return killer(folder, [file])
    finally:
        place.write_text(text)
