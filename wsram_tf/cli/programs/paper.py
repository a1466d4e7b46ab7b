"""The program reproduce_paper: the runs of the paper's experiments, and the report on them."""

import os
import pathlib
from collections.abc import Container, Iterable, Mapping, Sequence

from wsram_tf import files
from wsram_tf.cli import program
from wsram_tf.cli.flags import ProgramFlags
from wsram_tf.cli.programs.comparison import Key, are_seeds, make_comparison
from wsram_tf.paper import experiments, finished
from wsram_tf.runs.folder import RunFolder
from wsram_tf.runs.loop.stop_requests import StopRequests
from wsram_tf.settings import LARGEST_INTEGER

__all__ = ["reproduce_paper"]

# Flags of the training programs that say where the data of a run are.
_DATA = ("data_dir", "backbone", "features")


def reproduce_paper(arguments: Sequence[str] | None = None) -> None:
  """Repeats the experiments of the paper, and writes its figures beside those of the runs.

  reproduce_paper --scale=small --experiments=table1,figure2,figure3 --out_dir=DIR
  reproduce_paper --experiments=table1,figure2,figure3 --data_dir=DIR --out_dir=DIR
  reproduce_paper --experiments=table2,figure4 --flickr8k_dir=DIR --backbone=FILE.keras \
    --backbone_layers=NAME,NAME --out_dir=DIR

  Each run is a process, in DIR/GROUP/METHOD/seed_SEED. When it is started again, the program skips
  finished runs and resumes the others; several processes may share the work. After each run it
  writes DIR/paper.md and a plot for each figure, from all finished runs, and DIR/runs.jsonl, the
  figures of these runs. --add_runs takes such a file from another machine. A run on digits takes
  from half an hour to two hours of one core at full scale.
  """
  with StopRequests() as requests:
    program.run(
      "reproduce_paper",
      lambda: _reproduce(arguments, requests),
      when_stopped=lambda: "start again with the same flags to continue",
    )


def _flags() -> ProgramFlags:
  flags = ProgramFlags("reproduce_paper", reproduce_paper.__doc__)
  names = list(experiments.EXPERIMENTS)
  flags.define_list(
    "experiments",
    ["table1", "figure2", "figure3"],
    f"experiments of the paper, separated by commas, among {', '.join(names)}",
    lambda given: bool(given) and all(name in names for name in given),
    f"must be names among {', '.join(names)}, separated by commas",
  )
  methods = experiments.all_labels()
  flags.define_list(
    "methods",
    [],
    "methods of the experiments, separated by commas, among "
    f"{', '.join(methods)}; absent: all that the experiments need",
    lambda given: all(name in methods for name in given),
    f"must be names among {', '.join(methods)}, separated by commas",
  )
  flags.define_choice("scale", "full", experiments.SCALES, "size of models and length of training")
  flags.define_count(
    "updates",
    0,
    "length of each run, in updates, with exploration in the first half; 0: that of the scale",
    minimum=0,
  )
  flags.define_list(
    "seeds",
    [],
    "seeds, integers from 0 on, separated by commas; absent: 1,2,3 for digits and 1,2 for captions "
    "at full scale, 1,2 and 1 at small scale",
    lambda seeds: not seeds or are_seeds(seeds),
    f"must be integers from 0 to {LARGEST_INTEGER}, separated by commas, each once",
  )
  flags.define_path("out_dir", "folder of all runs, the report and the plots", required=True)
  flags.define_path("data_dir", "folder of prepared TensorFlow Datasets with mnist, for full scale")
  flags.define_path("flickr8k_dir", "folder of Flickr8k, for table2 and figure4")
  flags.define_path("backbone", "the backbone, a .keras file, for table2 and figure4")
  flags.define_text(
    "backbone_layers",
    "layers of the backbone that glimpses choose from, separated by commas; absent: its last grid",
  )
  flags.define_bool("download", False, "fetch mnist where it is not prepared")
  flags.define_texts(
    "run_flag",
    "a further flag of all runs, for instance --run_flag=--updates=100; may be given several times",
  )
  flags.define_path(
    "add_runs",
    f"finished runs of another machine, a {finished.FILE}: they are reported, and not made again",
  )
  flags.define_bool("report_only", False, "make no run; write the report from the finished runs")
  return flags


def _reproduce(arguments: Sequence[str] | None, requests: StopRequests) -> None:
  flags = _flags()
  flags.check_no_rest(flags.parse(arguments))
  from wsram_tf.paper import report

  plans = {group: _lines(flags, group) for group in _groups(flags)}
  if not any(plans.values()):
    raise ValueError(
      f"methods={','.join(flags.methods)}: must have one of the methods of "
      f"experiments={','.join(flags.experiments)}"
    )
  added = _added_runs(flags, plans)
  written = False

  def write() -> None:
    nonlocal written
    out = pathlib.Path(flags.out_dir)
    out.mkdir(parents=True, exist_ok=True)
    with files.lock(out / ".lock", wait=True):  # The last writer has read all finished runs.
      runs = _finished_runs(flags, plans, added)
      finished.write_file(out / finished.FILE, [*_kept_runs(out, plans), *runs])
      report.write(out, flags.experiments, runs)
    written = True

  if not flags.report_only:
    missing = {group: _missing_runs(flags, group, plans[group], added) for group in plans}
    for group, lines in missing.items():
      if lines:
        out_dir = os.path.join(flags.out_dir, group.name)
        make_comparison(group.program, out_dir, lines, requests, write)
  if not written:  # No run was made.
    write()
  print(f"report: {os.path.join(flags.out_dir, report.REPORT)}")


def _groups(flags: ProgramFlags) -> list[experiments.Group]:
  return list(dict.fromkeys(experiments.EXPERIMENTS[name][0] for name in flags.experiments))


def _lines(flags: ProgramFlags, group: experiments.Group) -> dict[Key, list[str]]:
  """Returns the flags of each run of a group, but for its data and its seed."""
  further, _ = _further_flags(flags)
  seeds = [int(seed) for seed in flags.seeds] or group.seeds[flags.scale]
  labels = experiments.labels_of(group, flags.experiments, flags.methods)
  return {
    (label, seed): [*experiments.flags_of(group, label, flags.scale, flags.updates), *further]
    for seed in seeds
    for label in labels
  }


def _missing_runs(
  flags: ProgramFlags,
  group: experiments.Group,
  lines: Mapping[Key, Sequence[str]],
  added: Container[tuple[str, str, int]],
) -> dict[Key, list[str]]:
  """Returns all flags of the runs that no other machine made.

  Raises:
    ValueError: if the data of the group are not given.
  """
  keys = [(label, seed) for label, seed in lines if (group.name, label, seed) not in added]
  data = _data_flags(flags, group) if keys else []
  _, further = _further_flags(flags)
  # Flags of --run_flag come after the data, so that they may replace them.
  return {
    (label, seed): [*data, *lines[label, seed], *further, f"--seed={seed}"] for label, seed in keys
  }


def _further_flags(flags: ProgramFlags) -> tuple[list[str], list[str]]:
  """Splits the flags of --run_flag.

  Returns:
    those that say what is trained, which a file of runs records, and those that say where the data
    are, which other machines have elsewhere.
  """
  data = [line for line in flags.run_flag if line.lstrip("-").partition("=")[0] in _DATA]
  return [line for line in flags.run_flag if line not in data], data


def _data_flags(flags: ProgramFlags, group: experiments.Group) -> list[str]:
  """Returns the flags that give the data of a group.

  Raises:
    ValueError: if they are not given.
  """
  if group is not experiments.CAPTIONS:
    data = [f"--data_dir={flags.data_dir}"] if flags.data_dir else []
    return [*data, *(["--download"] if flags.download else [])]
  for name in ("flickr8k_dir", "backbone"):
    if not getattr(flags, name):
      raise ValueError(f"{name}: must be given for table2 and figure4")
  layers = [f"--backbone_layers={flags.backbone_layers}"] if flags.backbone_layers else []
  return [f"--data_dir={flags.flickr8k_dir}", f"--backbone={flags.backbone}", *layers]


def _added_runs(
  flags: ProgramFlags, plans: Mapping[experiments.Group, Mapping[Key, list[str]]]
) -> dict[tuple[str, str, int], finished.FinishedRun]:
  """Reads the runs of other machines that the experiments need, by group, method and seed.

  Raises:
    ValueError: if it is no file of runs, or holds a run with other flags than those asked for.
  """
  if not flags.add_runs:
    return {}
  try:
    found = {run.key: run for run in finished.read_file(flags.add_runs)}
  except OSError as error:
    raise ValueError(f"add_runs={flags.add_runs}: cannot be read, {error.strerror}") from error
  needed = {}
  for group, lines in plans.items():
    for (label, seed), own in lines.items():
      run = found.get((group.name, label, seed))
      if run is None:
        continue
      theirs, asked = _by_name(run.flags), _by_name(own)
      if theirs != asked:
        differing = [
          f"{theirs.get(name, 'none')} for {asked.get(name, 'none')}"
          for name in sorted({*theirs, *asked})
          if theirs.get(name) != asked.get(name)
        ]
        raise ValueError(
          f"add_runs={flags.add_runs}: {label}, seed {seed}: must have the flags of these "
          f"experiments, and has {', '.join(differing)}"
        )
      needed[run.key] = run
  return needed


def _by_name(lines: Iterable[str]) -> dict[str, str]:
  """The last of the flags of each name, which is the one that holds."""
  return {line.partition("=")[0]: line for line in lines}


def _finished_runs(
  flags: ProgramFlags,
  plans: Mapping[experiments.Group, Mapping[Key, list[str]]],
  added: Mapping[tuple[str, str, int], finished.FinishedRun],
) -> list[finished.FinishedRun]:
  """Returns all finished runs that were asked for, of other machines and of the folder."""
  runs = []
  for group, lines in plans.items():
    for (label, seed), own in lines.items():
      run = added.get((group.name, label, seed))
      if run is None:
        folder = RunFolder(os.path.join(flags.out_dir, group.name, label, f"seed_{seed}"))
        run = finished.read_folder(folder, group.name, label, seed, own)
      if run is not None:
        runs.append(run)
  return runs


def _kept_runs(
  out: pathlib.Path, plans: Mapping[experiments.Group, Mapping[Key, list[str]]]
) -> list[finished.FinishedRun]:
  """Returns the runs in the folder's file that belong to experiments not asked for now."""
  path = out / finished.FILE
  asked = {(group.name, *key) for group, lines in plans.items() for key in lines}
  return [run for run in finished.read_file(path) if run.key not in asked] if path.exists() else []
