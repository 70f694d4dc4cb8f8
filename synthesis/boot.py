"""The start of CDKTF: its names, its Node.js process, then the bindings, and then the first import of cdktf."""

from __future__ import annotations

import gc

from synthesis import bindings, cdk, jsii_process
from synthesis.paths import ROOT


def boot() -> None:
    """Name the CDK, start jsii's Node.js process, and put the provider bindings of this app first on `sys.path`.

    Call it before the first import of cdktf, and of every module that imports cdktf.

    Raises:
        SystemExit: a package is missing; the text says what to do.
    """
    cdk.use()
    jsii_process.use()
    bindings.use(ROOT)


def collect_no_garbage() -> None:
    """Switch off garbage collection in a process that ends after its synthesis.

    A synthesis keeps the objects that it makes until it ends. A search for garbage takes a thirtieth of its time.
    """
    gc.disable()
