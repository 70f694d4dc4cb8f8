"""Composition root: settings, app, stack, synthesis.

`cdktf` runs it as cdktf.json says. `python main.py state` synthesizes the bucket of the Terraform state instead of the
platform: what `make bootstrap` applies once an account. `python main.py inbox` synthesizes the example.
"""

from __future__ import annotations

import gc
import sys
from pathlib import Path

from tools import bindings, jsii_process
from tools.output_folder import written_alone

ROOT = Path(__file__).resolve().parent


def main(component: str = "uploads") -> None:
    """Synthesize one component of the environment that ENVIRONMENT names, into CDKTF_OUTDIR or cdktf.out.

    Raises:
        SystemExit: the settings are wrong, or a package is missing; the text says what to do.
    """
    # A synthesis makes objects until it ends: looking for garbage takes a thirtieth of its time and finds none.
    gc.disable()
    jsii_process.use()
    bindings.use(ROOT)
    from cdktf import App

    from examples.inbox import InboxStack
    from modules.functions import Sources
    from modules.packaging import PackagingError
    from modules.settings import SettingsError, load
    from stacks.state import StateBackendStack
    from stacks.uploads import UploadsStack

    def sources(functions: str, stack: str) -> Sources:
        output = Path(app.outdir).resolve() / "stacks" / stack
        return Sources(functions=ROOT / functions, layers=ROOT / ".build" / "layers", output=output)

    try:
        settings = load(ROOT / "environments")
        app = App()
        with written_alone(Path(app.outdir)):
            if component == "state":
                StateBackendStack(app, settings=settings)
            elif component == "inbox":
                InboxStack(app, settings=settings, sources=sources("examples/functions", f"{settings.prefix}-inbox"))
            else:
                UploadsStack(app, settings=settings, sources=sources("functions", settings.prefix))
            app.synth()
    except (SettingsError, PackagingError) as error:
        sys.exit(f"error: {error}")
    except RuntimeError as error:
        # jsii hands over what the guards found behind the JavaScript stack; that part is for nobody.
        sys.exit(f"error: {str(error).partition(chr(10) + '    at ')[0]}")


if __name__ == "__main__":
    main(*sys.argv[1:2])
