"""File layout of the embedded AWS, which the server and its control share."""

import json
from dataclasses import dataclass
from pathlib import Path

LOOPBACK = "127.0.0.1"
# NO_PROXY for clients of the proxy: they reach this machine without it.
NOT_THROUGH_THE_PROXY = "localhost,127.0.0.1,::1"
HEALTH_PATH = "/_ministack/health"


@dataclass(frozen=True)
class Layout:
    """The files below the directory of one embedded AWS."""

    directory: Path

    @property
    def record(self) -> Path:
        """The record that a server writes when it listens; it stays after a stop, so that the port is remembered."""
        return self.directory / "embedded-aws.json"

    @property
    def lock(self) -> Path:
        """The lock that a server holds while it runs: two servers with one state would overwrite each other's data."""
        return self.directory / "embedded-aws.lock"

    @property
    def log(self) -> Path:
        """Standard output and standard error of the server."""
        return self.directory / "embedded-aws.log"

    @property
    def deployer(self) -> Path:
        """The access key of the deployer user; only its owner can read the file."""
        return self.directory / "deployer.json"

    @property
    def tls(self) -> Path:
        """The certificate authority, and the certificate and key of the server."""
        return self.directory / "tls"

    @property
    def ca_bundle(self) -> Path:
        """The authorities that clients have to trust: AWS_CA_BUNDLE, custom_ca_bundle, curl --cacert."""
        return self.tls / "ca.pem"

    @property
    def state(self) -> Path:
        """The state of every service except S3's objects, written at a graceful stop."""
        return self.directory / "state"

    @property
    def objects(self) -> Path:
        """The objects of S3, written immediately."""
        return self.directory / "s3"

    @property
    def temporary(self) -> Path:
        """Code of running functions; emptied at every start and stop."""
        return self.directory / "tmp"


@dataclass(frozen=True)
class Record:
    """The record that a server writes about itself."""

    pid: int
    port: int
    plain_http_port: int
    proxy_port: int = 0
    region: str = "us-east-1"

    def write(self, path: Path) -> None:
        """Write the record atomically."""
        staged = path.with_suffix(".tmp")
        staged.write_text(json.dumps(self.__dict__, indent=2) + "\n", encoding="utf-8")
        staged.replace(path)

    @classmethod
    def read(cls, path: Path) -> "Record | None":
        """Read a record; None if there is no file, or it is not a record."""
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
            ports = {name: int(found[name]) for name in ("pid", "port", "plain_http_port")}
            proxy_port = int(found.get("proxy_port", cls.proxy_port))
            return cls(**ports, proxy_port=proxy_port, region=str(found.get("region", cls.region)))
        except (OSError, ValueError, KeyError, TypeError):
            return None
