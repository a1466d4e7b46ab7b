"""The program reproduce_paper: the runs of the paper's experiments, and the report on them."""

import os
from collections.abc import Sequence

from wsram_tf.cli import program
from wsram_tf.cli.flags import ProgramFlags
from wsram_tf.cli.programs.comparison import Key, are_seeds, make_comparison
from wsram_tf.paper import experiments
from wsram_tf.runs.folder import RunFolder
from wsram_tf.runs.loop.stop_requests import StopRequests
from wsram_tf.settings import LARGEST_INTEGER

__all__ = ["reproduce_paper"]


def reproduce_paper(arguments: Sequence[str] | None = None) -> None:
  """Repeats the experiments of the paper, and writes its figures beside those of the runs.

  reproduce_paper --scale=small --experiments=table1,figure2,figure3 --out_dir=DIR
  reproduce_paper --experiments=table1,figure2,figure3 --data_dir=DIR --out_dir=DIR
  reproduce_paper --experiments=table2,figure4 --flickr8k_dir=DIR --backbone=FILE.keras \
    --backbone_layers=NAME,NAME --out_dir=DIR

  Each run is a process, in DIR/GROUP/METHOD/seed_SEED. When it is started again, the program skips
  finished runs and resumes the others; several processes may share the work. After each run it
  writes DIR/paper.md and a plot for each figure, from all finished runs. A run on
  digits takes from half an hour to two hours of one core at full scale.
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
  flags.define_choice("scale", "full", experiments.SCALES, "size of models and length of training")
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
  flags.define_bool("report_only", False, "make no run; write the report from the finished runs")
  return flags


def _reproduce(arguments: Sequence[str] | None, requests: StopRequests) -> None:
  flags = _flags()
  flags.check_no_rest(flags.parse(arguments))
  from wsram_tf.paper import report

  plans = {group: _lines(flags, group) for group in _groups(flags)}
  folders = {
    group: {
      (label, seed): RunFolder(os.path.join(flags.out_dir, group.name, label, f"seed_{seed}"))
      for label, seed in lines
    }
    for group, lines in plans.items()
  }

  written = False

  def write() -> None:
    nonlocal written
    report.write(flags.out_dir, flags.experiments, folders)
    written = True

  if not flags.report_only:
    for group, lines in plans.items():
      out_dir = os.path.join(flags.out_dir, group.name)
      make_comparison(group.program, out_dir, lines, requests, write)
  if not written:  # No run was made.
    write()
  print(f"report: {os.path.join(flags.out_dir, report.REPORT)}")


def _groups(flags: ProgramFlags) -> list[experiments.Group]:
  return list(dict.fromkeys(experiments.EXPERIMENTS[name][0] for name in flags.experiments))


def _lines(flags: ProgramFlags, group: experiments.Group) -> dict[Key, list[str]]:
  """Returns the flags of each run of a group.

  Raises:
    ValueError: if the data of the group are not given.
  """
  if group is experiments.CAPTIONS:
    for name in ("flickr8k_dir", "backbone"):
      if not getattr(flags, name):
        raise ValueError(f"{name}: must be given for table2 and figure4")
    data = [f"--data_dir={flags.flickr8k_dir}", f"--backbone={flags.backbone}"]
    data += [f"--backbone_layers={flags.backbone_layers}"] if flags.backbone_layers else []
  else:
    data = [f"--data_dir={flags.data_dir}"] if flags.data_dir else []
    data += ["--download"] if flags.download else []
  seeds = [int(seed) for seed in flags.seeds] or group.seeds[flags.scale]
  labels = experiments.labels_of(group, flags.experiments)
  return {
    (label, seed): [
      *experiments.flags_of(group, label, flags.scale),
      *data,
      *flags.run_flag,
      f"--seed={seed}",
    ]
    for seed in seeds
    for label in labels
  }
