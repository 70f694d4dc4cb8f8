"""A bucket that only a partner's role may read, and a queue that tells the partner of each new object."""

from __future__ import annotations

from constructs import Construct

from modules.buckets import PrivateBucket
from modules.encryption import CustomerKey, admit_service
from modules.monitoring import Monitoring
from modules.notifications import Topic, alarms_of
from modules.policy_documents import Statement
from modules.queues import Queue, Sender
from modules.roles import ExistingRole
from modules.settings import Settings
from stacks.base import BaseStack


class PartnerBucketStack(BaseStack):
    """A bucket, a queue of its events with dead letters, the partner's permissions, and alarms.

    The alarms say that events wait too long, or that the partner fails on them.
    """

    def __init__(self, scope: Construct, *, settings: Settings, partner: str = "partner-reader") -> None:
        """
        Args:
            partner: path (if any) and name of the partner's role, which exists in the account.
        """
        super().__init__(scope, settings=settings, component="partner-bucket")
        base = self.foundation

        def key(of: str, service: str, *admit: Statement) -> CustomerKey:
            return CustomerKey(self, f"{of}_key", foundation=base, purpose=of, service=service, admit=admit)

        bucket = PrivateBucket(
            self, "documents", foundation=base, name=base.bucket_name("documents"), key=key("documents", "s3")
        )
        queues = key("queues", "sqs", admit_service(base, "s3", bucket.arn))
        failed = Queue(self, "failed", foundation=base, name="failed", key=queues)
        announced = Queue(
            self,
            "announced",
            foundation=base,
            name="announced",
            key=queues,
            senders=[Sender("s3.amazonaws.com", bucket.arn)],
            dead_letters=failed,
        )
        bucket.announce_to(announced)

        reader = ExistingRole(self, "partner", foundation=base, arn=f"arn:aws:iam::{base.account_id}:role/{partner}")
        bucket.grant_read(reader)
        bucket.deny_other_readers(reader)
        announced.grant_consume(reader, "announced_consume")

        topics = key("topics", "sns", admit_service(base, "cloudwatch", f"alarm:{base.prefix}-*"))
        alerts = Topic(self, "alerts", foundation=base, name="alerts", key=topics, publishers=[alarms_of(base)])
        Monitoring(self, "monitoring", foundation=base, alerts=alerts, monitored=[failed, announced, topics, queues])
