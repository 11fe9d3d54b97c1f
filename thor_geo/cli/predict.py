"""``thor-geo predict``: a LightningCLI with one subcommand."""

from __future__ import annotations

import inspect
import logging
import sys
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import Callback, LightningDataModule, LightningModule, Trainer
from lightning.pytorch.callbacks import ProgressBar
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI

from thor_geo.cli.arguments import (
    refuse_linked,
    with_listed_windows,
    with_nested_nulls,
    with_one_source,
    with_strict,
    with_whole_areas,
)
from thor_geo.cli.launch import Launch, plugins, root_dir
from thor_geo.cli.launch_checks import check_launch
from thor_geo.cli.moved import refuse_moved
from thor_geo.cli.parser import RunParser
from thor_geo.cli.planes import model_bands
from thor_geo.cli.scalars import refuse_octal
from thor_geo.cli.settings import CLASSES, LINKED
from thor_geo.cli.trouble import is_dead_worker, say_coverage, worker_error
from thor_geo.datamodules import CompositeDataModule, FolderDataModule
from thor_geo.datamodules.sampler import refuse_lightnings_sampler
from thor_geo.errors import ConfigError, ThorGeoError
from thor_geo.ground.job import Job
from thor_geo.ground.lattice import Lattice
from thor_geo.models.layout import TokenLayout
from thor_geo.runs.zone_grid import centre_trim
from thor_geo.specs.environment import run_defaults
from thor_geo.support.progress import is_first_process
from thor_geo.tasks import RunWriter, TileProgressBar
from thor_geo.tasks.signals import signals_first, stop_on_sigterm

#: Exit code of a run that left failed tiles.
EXIT_FAILED_TILES = 3

#: Trainer settings that a run wants unless the config says otherwise.
TRAINER_DEFAULTS: dict[str, Any] = {
    "logger": False,
    "use_distributed_sampler": False,
    "enable_checkpointing": False,
    "enable_model_summary": False,
}


class PredictCLI(LightningCLI):
    """Model and data by default THOR and composites; both replaceable by class_path."""

    @staticmethod
    def subcommands() -> dict[str, set[str]]:
        """Offer `predict`; predictions go to the writers, so they are never returned."""
        return {
            "predict": {
                "model",
                "dataloaders",
                "datamodule",
                "return_predictions",
                "ckpt_path",
                "weights_only",
            }
        }

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add `output`, the defaults of `model` and `data`, and the links between them."""
        parser.add_lightning_class_args(RunWriter, "output")
        parser.add_argument(
            "--job",
            type=str,
            default=str(Job()),
            help="Which of several independent jobs this is: 17/64, or 17/64%%8 if 8 run at once.",
        )
        environment = run_defaults()
        defaults: dict[str, dict[str, Any]] = {}
        for section in ("model", "data"):
            defaults[section] = {"class_path": CLASSES[section]}
            if environment[section]:
                defaults[section]["init_args"] = environment[section]
        parser.set_defaults(defaults)
        for target, source in LINKED.items():
            if target == "bands":  # what they are called depends on the class
                parser.link_arguments("data", "model.init_args.bands", compute_fn=model_bands)
                continue
            section, key = source.split(".")
            parser.link_arguments(
                f"data.init_args.{key}" if section == "data" else source,
                f"model.init_args.{target}",
            )

    @property
    def writer(self) -> RunWriter:
        """The run's writer, once classes are instantiated."""
        writer: RunWriter = self._get(self.config_init, "output")
        return writer

    @property
    def shows_progress(self) -> bool:
        """Whether the user wants to see progress: `trainer.enable_progress_bar`."""
        return self.trainer.progress_bar_callback is not None

    @property
    def job(self) -> Job:
        """Which part of the run is this command's.

        Raises:
            ConfigError: If there is no such job.
        """
        return Job.parse(str(self._get(self.config, "job")))

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """Make the trainer; what Lightning refuses is an error of the config."""
        launch = Launch.from_environment()
        configured = self._get(self.config_init, "trainer", default={})
        kwargs["plugins"] = plugins(configured.get("plugins"), launch, self.job)
        kwargs["callbacks"] = _with_progress(configured)
        folder = configured.get("default_root_dir")
        kwargs["default_root_dir"] = root_dir(folder, self.writer.run.path)
        usual = inspect.signature(Trainer).parameters
        settings = {
            key: value
            for key, value in self._get(self.config, "trainer", default={}).items()
            if key not in (*TRAINER_DEFAULTS, "callbacks") and value != usual[key].default
        }
        try:
            return super().instantiate_trainer(**kwargs)
        except ThorGeoError:
            raise
        except (MisconfigurationException, ValueError, TypeError) as error:
            raise ConfigError(
                "trainer",
                settings,
                " ".join(str(error).split()).rstrip(".!"),
                "Correct the key, or leave it out: auto takes what the machine has.",
            ) from error

    def predict(self, **kwargs: Any) -> None:
        """Run; refuses an output directory that cannot be written before anything is loaded."""
        job = self.job
        check_launch(self.trainer, job)
        self.writer.run.check_writable()
        self._check_stride()
        refuse_lightnings_sampler(self.trainer)
        self._dump_config()
        # The record is the run's, not that of the job which happened to begin it.
        self.writer.config = {
            **{k: v for k, v in self.config_dump.items() if k != "job"},
            # What its relative paths are relative to.
            "cwd": str(Path.cwd()),
        }
        if hasattr(self.datamodule, "job"):
            self.datamodule.job = job
        elif job.count > 1:
            raise ConfigError(
                "job",
                str(job),
                f"{type(self.datamodule).__name__} has no attribute `job`",
                "Use CompositeDataModule, or give the datamodule one and honour it.",
            )
        if isinstance(self.datamodule, CompositeDataModule | FolderDataModule):
            self.datamodule.load_plan()
            if places := self.datamodule.place_settings():
                self.writer.run.check_table(places["places"])
        if isinstance(self.datamodule, CompositeDataModule):
            # Before ranks are launched: they inherit the emulator's address.
            self.datamodule.connect()
        stop_on_sigterm(self.trainer)
        try:
            with signals_first():
                self.trainer.predict(**kwargs, return_predictions=False)
        except SystemExit as stop:
            if isinstance(stop.__context__, KeyboardInterrupt):  # Lightning makes it exit code 1
                raise KeyboardInterrupt from stop
            raise
        except (RuntimeError, ConnectionError, EOFError) as error:
            if not is_dead_worker(error, finished=self.writer.summary is not None):
                raise
            raise worker_error(error) from error

    def _check_stride(self) -> None:
        lattice = getattr(self.datamodule, "lattice", None)
        patch = getattr(self.model, "patch_size", None)
        tokens = getattr(self.model, "layout", None)
        if not isinstance(lattice, Lattice):
            return
        # With another backbone, the number of cells of a tile is known after its first output.
        if isinstance(tokens, TokenLayout) and self.writer.settings()["grid"]:
            centre_trim(lattice, (tokens.n_max, tokens.n_max))
        if isinstance(patch, int) and lattice.step % patch:
            raise ConfigError(
                "stride",
                lattice.step,
                f"not a multiple of patch_size={patch}",
                "Patches of neighbouring tiles would not line up; take a multiple.",
            )


def _with_progress(configured: Mapping[str, Any]) -> list[Callback]:
    """Return the configured callbacks, and the bar of tiles unless there is one or none is wanted.

    Args:
        configured: The trainer's section, its classes instantiated.
    """
    callbacks = configured.get("callbacks") or []
    callbacks = list(callbacks) if isinstance(callbacks, list) else [callbacks]
    barred = any(isinstance(callback, ProgressBar) for callback in callbacks)
    if barred or configured.get("enable_progress_bar") is False:
        return callbacks
    return [*callbacks, TileProgressBar()]


def make_cli(
    args: list[str] | None = None, *, run: bool = True, cli: type[PredictCLI] | None = None
) -> PredictCLI:
    """Parse arguments, instantiate model, data and trainer, and run.

    Args:
        args: Arguments; None for the process's own.
        run: False parses and instantiates only; there is no subcommand then.
        cli: What to run; None for PredictCLI.
    """
    return (cli or PredictCLI)(
        model_class=LightningModule,
        datamodule_class=LightningDataModule,
        subclass_mode_model=True,
        subclass_mode_data=True,
        seed_everything_default=0,
        trainer_defaults=TRAINER_DEFAULTS,
        save_config_callback=None,
        auto_configure_optimizers=False,
        load_from_checkpoint_support=False,
        parser_class=RunParser,
        parser_kwargs={"prog": "thor-geo"},
        args=args,
        run=run,
    )


def predict(args: Sequence[str]) -> int:
    """Run ``thor-geo predict ...``.

    Args:
        args: Arguments, the first being ``predict``.

    Returns:
        0, or 3 if tiles failed or are missing.
    """
    # Lightning reads the process's own arguments, and starts further ranks with them.
    sys.argv = [sys.argv[0], *prepared(args)]
    cli = make_cli()
    summary = cli.writer.summary  # of rank 0 only: another rank's exit would end its siblings
    if summary is not None and summary.empty and not (summary.ok or summary.failed):
        say_coverage(cli.datamodule)
    left = summary is not None and (summary.failed or not summary.complete)
    return EXIT_FAILED_TILES if left else 0


def prepared(args: Sequence[str]) -> list[str]:
    """Return the arguments as the parser wants them, and silence messages of no use here.

    Raises:
        ConfigError: If a key is set that follows another, or that has moved.
    """
    # Tips for other products, and what the machine lacks, are not worth a user's first lines.
    logging.getLogger("lightning.pytorch.utilities.rank_zero").setLevel(logging.WARNING)
    if not is_first_process():  # of many ranks, one tells the seed, the weights and its number
        for name in ("lightning.fabric", "lightning.pytorch"):
            logging.getLogger(name).setLevel(logging.WARNING)
        logging.getLogger("thor_geo.models").setLevel(logging.ERROR)
    for message in (
        "The '.*_dataloader' does not have many workers",
        "You are using a custom batch sampler `ShardBatchSampler`",  # as the design wants it
        ".*isinstance.treespec, LeafSpec.",  # between Lightning and PyTorch
        "The `srun` command is available on your system but is not used",  # launch_checks.py knows
        "Total length of `DataLoader` across ranks is zero",  # the summary says it better
    ):
        warnings.filterwarnings("ignore", message)
    refuse_octal(args)
    refuse_moved(args)
    refuse_linked(args)
    args = with_nested_nulls(with_listed_windows(with_whole_areas(args)))
    return with_strict(with_one_source(args))
