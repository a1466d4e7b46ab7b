"""The program reproduce_paper: its runs, its report, and what it refuses."""

import pathlib

import tensorflow as tf

from tests.support import example_photos, programs, small_runs
from wsram_tf.paper import experiments
from wsram_tf.runs.folder import RunFolder


class ReproducePaperTest(tf.test.TestCase):
  def test_runs_and_reports_and_goes_on(self):
    small_runs.run_eagerly(self.addCleanup)
    out = pathlib.Path(self.get_temp_dir()) / "paper"
    small = (*small_runs.CANVASES, "--updates=1", "--gradient_draws=0", "--seed=1")
    arguments = [
      "--experiments=figure3",
      "--scale=small",
      "--seeds=1",
      *(f"--run_flag={flag}" for flag in small),
      f"--out_dir={out}",
    ]
    # The program makes one run, as a process; this one makes the others, which is faster.
    for method in ("VAR+c", "WS-RAM+q+c", "WS-RAM+q+c-without-exploration"):
      flags = experiments.flags_of(experiments.DIGITS, method, "small")
      run_dir = f"--run_dir={out / 'digits' / method / 'seed_1'}"
      ending = programs.endings("train_mnist", [*flags, *small, run_dir])
      self.assertEqual(ending, [programs.TRAINED])
    (ending,) = programs.endings("reproduce_paper", arguments)
    self.assertIn("run 3 of 4: VAR+c-without-exploration, seed 1 starts", ending)
    self.assertIn("run 4 of 4: WS-RAM+q+c-without-exploration, seed 1 is finished", ending)
    self.assertIn(f"report: {out / 'paper.md'}", ending)
    text = (out / "paper.md").read_text()
    self.assertIn("## Figure 3: exploration", text)
    self.assertGreater((out / "figure3.png").stat().st_size, 0)
    for method in (
      "VAR+c",
      "VAR+c-without-exploration",
      "WS-RAM+q+c",
      "WS-RAM+q+c-without-exploration",
    ):
      self.assertIn(f"| {method} |", text)
      run = RunFolder(out / "digits" / method / "seed_1")
      self.assertIn("--choose_scale=true", run.read_flags())
      shares = [run.read_results()[f"scale_{scale}_percent"] for scale in range(3)]
      self.assertAllClose(sum(shares), 100.0)
    (out / "paper.md").unlink()
    again, only_report, other = programs.endings(
      "reproduce_paper",
      arguments,
      [*arguments, "--report_only", "--experiments=table1,figure2"],
      [*arguments, "--run_flag=--units=9"],
    )
    self.assertEqual(again.count("is finished"), 4)
    self.assertNotIn("run 1", only_report)
    self.assertIn("| WS-RAM+q+c | 1 | 1.62 |", (out / "paper.md").read_text())
    self.assertIn("VAR+c/seed_1 has other flags than these (--units=9, not --units=8", other)
    self.check_chosen_methods(out, arguments)
    self.check_other_machine(out, arguments)

  def check_chosen_methods(self, out: pathlib.Path, arguments: list[str]) -> None:
    """Takes the methods asked for alone, and the length of each run."""
    chosen = [*arguments, "--methods=VAR+c,VAR"]
    ending, longer = programs.endings("reproduce_paper", chosen, [*chosen, "--updates=4"])
    self.assertIn("run 1 of 1: VAR+c, seed 1 is finished", ending)
    text = (out / "paper.md").read_text()
    self.assertIn("| VAR+c |", text)
    self.assertNotIn("| WS-RAM+q+c |", text)
    self.assertIn("--temperature_updates=2, not --temperature_updates=1000", longer)

  def check_other_machine(self, out: pathlib.Path, arguments: list[str]) -> None:
    """Reports finished runs from their file alone, makes none again, and refuses other flags."""
    elsewhere = pathlib.Path(self.get_temp_dir()) / "elsewhere"
    arguments = [*arguments, f"--out_dir={elsewhere}", f"--add_runs={out / 'runs.jsonl'}"]
    endings = programs.endings(
      "reproduce_paper",
      [*arguments[:-1], f"--add_runs={out / 'no.jsonl'}"],
      [*arguments, "--run_flag=--units=9"],
      arguments,
      [*arguments, f"--run_flag=--begin_with={out}"],
    )
    self.assertIn(f"add_runs={out / 'no.jsonl'}: cannot be read", endings[0])
    self.assertIn(
      "VAR+c, seed 1: must have the flags of these experiments, and has --units=8 for --units=9",
      endings[1],
    )
    self.assertNotIn("run 1", endings[2])
    self.assertIn(f"has none for --begin_with={out}", endings[3])
    # The file holds the runs of both reports.
    self.assertCountEqual(
      (elsewhere / "runs.jsonl").read_text().splitlines(),
      (out / "runs.jsonl").read_text().splitlines(),
    )
    self.assertIn("## Figure 3", (elsewhere / "paper.md").read_text())
    self.assertFalse((elsewhere / "digits").exists())

  def test_captions_are_trained_over_layers_and_reported(self):
    small_runs.run_eagerly(self.addCleanup)
    folder = pathlib.Path(self.get_temp_dir())
    out, backbone = folder / "captions_paper", folder / "backbone.keras"
    example_photos.write_flickr8k(folder / "flickr8k")
    example_photos.write_layered_backbone(backbone)
    data = [f"--backbone={backbone}", "--backbone_layers=fine,coarse"]
    small = [
      *("--updates=1", "--evaluate_every=1", "--batch_size=4", "--num_samples=2"),
      *("--units=8", "--word_units=4", "--location_units=4"),
      *("--least_word_count=1", "--max_words=4", "--jit_compile=off"),
      f"--data_dir={folder / 'flickr8k'}",
    ]
    for method in experiments.CAPTIONS.methods:
      flags = experiments.flags_of(experiments.CAPTIONS, method, "small")
      run_dir = f"--run_dir={out / 'captions' / method / 'seed_1'}"
      flags += [*data, *small, "--seed=1", run_dir]
      self.assertEqual(programs.endings("train_captions", flags), [programs.TRAINED])
    arguments = [
      *("--experiments=table2,figure4", "--scale=small", f"--flickr8k_dir={folder / 'flickr8k'}"),
      *(*data, *(f"--run_flag={flag}" for flag in small), f"--out_dir={out}"),
    ]
    ending, other_data = programs.endings(
      "reproduce_paper", arguments, [*arguments, "--run_flag=--backbone_layers=coarse"]
    )
    self.assertEqual(ending.count("is finished"), 3, ending)
    self.assertIn("--backbone_layers=coarse, not --backbone_layers=fine,coarse", other_data)
    text = (out / "paper.md").read_text()
    self.assertIn("| WS-RAM+q+c | 1 | 61.1 |", text)
    self.assertIn("| WS-RAM+q+c-with-coverage | 1 | - |", text)
    # Another machine has its files elsewhere.
    recorded = (out / "runs.jsonl").read_text()
    self.assertIn("--updates=1", recorded)
    self.assertNotIn(str(folder), recorded)
    self.assertGreater((out / "figure4.png").stat().st_size, 0)

  def test_refuses_by_name(self):
    out = pathlib.Path(self.get_temp_dir()) / "paper"
    cases = {
      "flag --experiments=['table3']: must be names among table1": ["--experiments=table3"],
      "flag --methods=['VAR-c']: must be names among VAR, VAR+c": ["--methods=VAR-c"],
      "methods=VAR: must have one of the methods of experiments=figure3": [
        "--methods=VAR",
        "--experiments=figure3",
      ],
      "flag --seeds=['1', '1']: must be integers": ["--seeds=1,1"],
      "flickr8k_dir: must be given for table2 and figure4": ["--experiments=table2"],
    }
    endings = programs.endings(
      "reproduce_paper", *([f"--out_dir={out}", *wrong] for wrong in cases.values())
    )
    for message, ending in zip(cases, endings, strict=True):
      self.assertIn(message, ending)
    self.assertFalse(out.exists())


if __name__ == "__main__":
  tf.test.main()
