"""`kvae workshop`: worksheets for students, reports and points for teachers."""

from pathlib import Path


def add_arguments(parser):
    """Add the command's own subcommands to its parser."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    actions.add_parser("list", help="the worksheets, with their topics and times", description=LIST)

    sub = actions.add_parser("copy", help="a student's starting point", description=COPY)
    sub.add_argument("number", type=int, metavar="N", help="the worksheet's number, as `kvae workshop list` shows it")
    sub.add_argument("folder", nargs="?", default=".", metavar="DIR", help="where to; default: here")
    sub.add_argument("--force", action="store_true", help="replace the file that is there, with what was filled in")

    sub = actions.add_parser("check", help="run a notebook and report on each exercise", description=CHECK)
    sub.add_argument("file", metavar="FILE", help="the student's .ipynb file")
    _limits(sub)

    sub = actions.add_parser("grade", help="run a folder of notebooks and give points", description=GRADE)
    sub.add_argument("folder", metavar="DIR", help="submissions, also in folders of their own")
    sub.add_argument("--out", metavar="CSV", help="table to write; default: none")
    sub.add_argument("--worksheet", type=int, metavar="N", help="which is asked for; default: what most of them are")
    sub.add_argument("--jobs", type=int, default=1, metavar="N", help="notebooks at a time; default: %(default)s")
    _limits(sub)


LIST = "List the worksheets."
COPY = "Copy a worksheet to fill in; it never replaces a file unless told to."
CHECK = "Run a notebook in a process of its own and report on each exercise. Exit code 0 if all are right, else 1."
GRADE = (
    "Run every notebook in a folder, each in a process of its own, and give points. A notebook runs with your rights: "
    "the limits stop accidents, not attacks."
)


def run(arguments):
    """Do what `kvae workshop ACTION` asks for."""
    return {"list": list_all, "copy": copy, "check": check, "grade": grade}[arguments.action](arguments)


def list_all(arguments):
    """Print the worksheets."""
    from kvae.worksheet import notebooks

    print(f"{'':>2}  {'minutes':>7}  {'lectures':<10}  topic")
    for number, path in notebooks.student_notebooks().items():
        about = notebooks.read(path).about
        topic = f"{about['topic']}: {about['about']}".replace("`", "")
        print(f"{number:>2}  {about['minutes']:>7}  {about['lectures']:<10}  {topic}")
    print("`kvae workshop copy N DIR` copies one to fill in.")


def copy(arguments):
    """Copy a student's notebook."""
    from kvae.io import FileError, atomic
    from kvae.worksheet import notebooks

    known = notebooks.student_notebooks()
    if arguments.number not in known:
        raise ValueError(f"`N` must be one of {sorted(known)}, see `kvae workshop list`. Received: {arguments.number}")
    source = known[arguments.number]
    target = atomic.make_folder(arguments.folder) / source.name
    if target.exists() and not arguments.force:
        raise FileError(f"{target} is there already: choose another folder, or --force to lose what is in it")
    with atomic.replacing(target) as aside:
        aside.write_bytes(source.read_bytes())
    print(f"written to {target}")
    print(f"  open it:  jupyter lab {target}   (pip install jupyterlab, if that is missing; VS Code and Colab do too)")
    print("  fill in:  each blank is marked YOUR CODE; run its cell, and read what its check says")
    print(f"  at last:  kvae workshop check {target}")


def check(arguments):
    """Run one notebook and print what its checks say."""
    from kvae.worksheet import grading
    from kvae.worksheet.checking import exercises

    if not Path(arguments.file).is_file():
        raise ValueError(f"`FILE` must be a notebook, an .ipynb file. Received: {arguments.file}")
    _use_checks(arguments)
    result = grading.run(arguments.file, seconds=arguments.seconds, megabytes=arguments.megabytes)
    if result.state != "run":
        print(f"{result.name}: {result.state}")
    for line in grading.lines(result):
        print(line)
    if not result.worksheet:
        return 1
    known = exercises(result.worksheet)
    right = sum(state == "right" for state, _ in result.verdicts.values())
    points = f"{result.total() or 0} of {sum(exercise.points for exercise in known.values())} points"
    print(f"worksheet {result.worksheet}: {right} of {len(known)} exercises right, {points}, {result.seconds:.0f} s")
    return 0 if right == len(known) and result.state == "run" else 1


def grade(arguments):
    """Grade a folder and print a table."""
    from kvae import checks
    from kvae.worksheet import grading

    if not Path(arguments.folder).is_dir():
        raise ValueError(f"`DIR` must be a folder of submissions. Received: {arguments.folder}")
    checks.positive_integer(arguments.jobs, "jobs")
    _use_checks(arguments)
    results = []
    limits = arguments.seconds, arguments.megabytes, arguments.worksheet, arguments.jobs
    for result in grading.grade(arguments.folder, *limits):
        results.append(result)
        points = "–" if result.total() is None else result.total()
        state = f"{result.seconds:.0f} s" if result.state == "run" else result.state
        print(f"{points:>4}  {result.name}  ({'; '.join([state, *result.notes])})", flush=True)
    if arguments.out:
        grading.write_csv(results, arguments.out)
        print(f"written to {arguments.out}")


def _limits(sub):
    sub.add_argument("--seconds", type=float, default=300, metavar="S", help="time of a notebook; default: %(default)s")
    sub.add_argument("--megabytes", type=int, default=8192, metavar="M", help="its memory; default: %(default)s")
    sub.add_argument("--checks", metavar="DIR", help="folder with a wNN.py of your own, in place of kvae's exercises")


def _use_checks(arguments):
    import os

    if arguments.checks:
        if not Path(arguments.checks).is_dir():
            raise ValueError(f"`checks` must be a folder with a wNN.py in it. Received: {arguments.checks}")
        os.environ["KVAE_CHECKS"] = str(Path(arguments.checks).resolve())
