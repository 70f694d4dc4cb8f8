"""An internal document inbox: every event that the platform announces is kept in a bucket. No API, no workflow."""

from __future__ import annotations

from constructs import Construct

from modules.encryption import CustomerKey, admit_logs, admit_service
from modules.functions import Function, Layer, Shared, Sources
from modules.monitoring import Monitoring
from modules.notifications import SubscribedQueue, Topic, alarms_of
from modules.policy_documents import Statement
from modules.queues import Queue
from modules.settings import Settings
from modules.sharing import SharedValue
from modules.storage import Storage
from stacks.base import BaseStack


class InboxStack(BaseStack):
    """A queue that is subscribed to a topic of `platform`, a function that reads it, a bucket, and alarms."""

    def __init__(self, scope: Construct, *, settings: Settings, sources: Sources, platform: str = "sluice") -> None:
        super().__init__(scope, settings=settings, component="inbox")
        base = self.foundation

        def key(of: str, service: str, *admit: Statement) -> CustomerKey:
            return CustomerKey(self, f"{of}_key", foundation=base, purpose=of, service=service, admit=admit)

        topics = key("topics", "sns", admit_service(base, "cloudwatch", f"alarm:{base.prefix}-*"))
        files_topic = SharedValue(self, "files_topic_arn", foundation=base, project=platform, name="files-topic-arn")
        queues = key("queues", "sqs", admit_service(base, "sns", files_topic.value))
        storage = Storage(self, "storage", foundation=base, key=key("documents", "s3"))
        name = f"{platform}-{base.environment}-files"
        announced = SubscribedQueue(
            self, "announced", foundation=base, topic_arn=files_topic.value, foreign_topic=name, key=queues
        )
        alerts = Topic(self, "alerts", foundation=base, name="alerts", key=topics, publishers=[alarms_of(base)])
        shared = Shared(
            foundation=base,
            sources=sources,
            layer=Layer(self, "layer", foundation=base, sources=sources),
            environment_key=key("variables", "lambda"),
            logs_key=key("logs", "logs", admit_logs(base, [f"/aws/lambda/{base.prefix}-"])),
            queues_key=queues,
            failures=Queue(self, "failures", foundation=base, name="failures", key=queues),
        )
        variables = {"BUCKET_NAME": storage.bucket_name}
        archive = Function(self, "archive", shared=shared, description="Keeps each event", environment=variables)
        storage.grant_write(archive.role)
        archive.consume(announced.queue, "announced", batch_size=10, max_concurrency=2)
        dead_letters = [archive.dead_letters, announced.dead_letters, shared.failures]
        Monitoring(
            self,
            "monitoring",
            foundation=base,
            alerts=alerts,
            monitored=[archive, *dead_letters, announced.queue, storage, topics, queues],
        )
