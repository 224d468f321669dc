"""``transformers serve``: any model of the library, on CPU or GPU, without anything else installed.

The model is given as the forced one: it is loaded before the port opens, so that an answer of ``/health`` means that it
is there, and a model that cannot be loaded ends the process with its own words in the log. It answers to that
folder's path alone, whatever the model is called outside.
"""

from __future__ import annotations

from ampacity.model.command import Command


class TransformersEngine:
    """Fulfils :class:`ampacity.serving.engines.base.Engine` with transformers 5."""

    health_path = "/health"

    def command(self, model_dir: str, name: str, arguments: tuple[str, ...], *, python: str) -> Command:
        argv = (
            python,
            "-m",
            "transformers.cli.transformers",
            "serve",
            model_dir,
            "--host",
            "127.0.0.1",
            "--port",
            "{port}",
            *arguments,
        )
        # A cache of its own and no network: the model is a local folder, and nothing else may be fetched at run time.
        env = {"HF_HUB_OFFLINE": "1", "HF_HOME": "{member_dir}/huggingface", "TOKENIZERS_PARALLELISM": "false"}
        return Command(argv=argv, env=env, port=0)

    def upstream_name(self, model_dir: str, name: str) -> str:
        return model_dir
