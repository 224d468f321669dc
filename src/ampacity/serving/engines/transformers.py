"""``transformers serve``: any model of the library, on CPU or GPU, without anything else installed.

The model is given as the forced one: it is loaded before the port opens, so that an answer of ``/health`` means that it
is there, and a model that cannot be loaded ends the process with its own words in the log. The server answers to the
path that it was given and to no other name; so it is given a link by the model's own name, in the member's folder.
"""

from __future__ import annotations

from urllib.parse import quote

from ampacity.model.command import Command
from ampacity.model.traffic import Resume

_LINK_AND_RUN = 'cd "$0" && ln -sfn "$1" "$2" && shift 2 && exec "$@"'


class TransformersEngine:
    """Fulfils :class:`ampacity.serving.engines.base.Engine` with transformers 5."""

    health_path = "/health"
    resumes = Resume.COMPLETIONS

    def command(self, model_dir: str, name: str, arguments: tuple[str, ...], *, python: str) -> Command:
        link = self.upstream_name(name)
        address = ("--host", "127.0.0.1", "--port", "{port}")
        serve = (python, "-m", "transformers.cli.transformers", "serve", link, *address, *arguments)
        argv = ("/bin/sh", "-c", _LINK_AND_RUN, "{member_dir}", model_dir, link, *serve)
        # A cache of its own and no network: the model is a local folder, and nothing else may be fetched at run time.
        env = {"HF_HUB_OFFLINE": "1", "HF_HOME": "{member_dir}/huggingface", "TOKENIZERS_PARALLELISM": "false"}
        return Command(argv=argv, env=env, port=0)

    def upstream_name(self, name: str) -> str:
        return quote(name, safe="")
