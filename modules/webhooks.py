"""Webhooks: the events of files, posted to the operator's receivers, signed, and tried again for half a day.

Each receiver has a queue of its own: a slow one holds up no other, and what one did not take is not sent to the others
again. Each has a secret of its own, so that none can sign what another believes. One function sends to all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cdktf_cdktf_provider_aws.secretsmanager_secret import SecretsmanagerSecret
from cdktf_cdktf_provider_aws.sns_topic_subscription import SnsTopicSubscription
from constructs import Construct

from functions.common.contract import NOT_DELIVERED, WebhookReceiver
from modules.alarms import Advice, Alarm, Metric
from modules.encryption import CustomerKey
from modules.foundation import Foundation
from modules.functions import Function
from modules.monitored import Graph, LogQuery, Monitored, Row, label_of, title_of
from modules.names import dead_letters_of, receiver_slug, webhook_secret_name
from modules.notifications import Topic
from modules.policy_documents import Statement
from modules.queues import Queue, Sender, redrive_policy
from modules.settings import WEBHOOK_ATTEMPTS

# One invocation sends a batch at once, so a receiver gets up to 50 messages at a time.
BATCH_SIZE = 10
MAX_CONCURRENCY = 5
# SQS hides a message for so many timeouts of the function, as Lambda asks ("Using Lambda with Amazon SQS").
TIMEOUTS_HIDDEN = 6
# A webhook is sent within seconds. A webhook that is sent again does not count here: SQS takes a message out of this
# metric once it was received three times ("Available CloudWatch metrics for Amazon SQS").
LATE_SECONDS = 900
# Receivers belong to others: an alarm on one in two failures tells lasting trouble from a short outage.
UNDELIVERED_PERCENT = 50

# The value of a secret is not among them.
_KEEP = (
    "secretsmanager:CreateSecret",
    "secretsmanager:DeleteSecret",
    "secretsmanager:DescribeSecret",
    "secretsmanager:GetResourcePolicy",
    "secretsmanager:TagResource",
    "secretsmanager:UntagResource",
    "secretsmanager:UpdateSecret",
)


@dataclass(frozen=True)
class _Receiver:
    """The resources of one receiver."""

    url: str
    queue: Queue
    secret: SecretsmanagerSecret


class Webhooks(Construct, Monitored):
    """A queue and a secret for each receiver; `deliver` names the function that sends.

    Attributes:
        queues: the queues of the receivers.
        dead_letters: their dead-letter queues.
        environment: variables of the function.
        secrets_key: encrypts the secrets.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        foundation: Foundation,
        urls: Sequence[str],
        backoff_seconds: int,
        files: Topic,
        queues_key: CustomerKey,
        secrets_key: CustomerKey,
    ) -> None:
        """
        Args:
            urls: addresses of the receivers.
            backoff_seconds: seconds before the first retry; they double with each retry.
            files: topic of the events of files.
            queues_key: encrypts the queues.
            secrets_key: encrypts the secrets.
        """
        super().__init__(scope, construct_id)
        self.secrets_key = secrets_key
        self._log_groups: list[str] = []
        self.dead_letters: list[Queue] = []
        self._receivers: dict[str, _Receiver] = {}
        from_files = [Sender("sns.amazonaws.com", files.arn)]
        for url in urls:
            slug = receiver_slug(url)
            name = slug.replace("-", "_")
            dead_letters = Queue(
                self,
                f"{name}_dead_letters",
                foundation=foundation,
                name=dead_letters_of(f"webhooks-{slug}"),
                key=queues_key,
                senders=from_files,
            )
            queue = Queue(
                self,
                name,
                foundation=foundation,
                name=f"webhooks-{slug}",
                key=queues_key,
                senders=from_files,
                dead_letters=dead_letters,
                max_receives=WEBHOOK_ATTEMPTS,
                visibility_timeout_seconds=TIMEOUTS_HIDDEN * foundation.lambda_timeout,
            )
            SnsTopicSubscription(
                self,
                f"{name}_subscription",
                topic_arn=files.arn,
                protocol="sqs",
                endpoint=queue.arn,
                # The event to the byte, as it was published: that is what is signed.
                raw_message_delivery=True,
                redrive_policy=redrive_policy(dead_letters),
                # As in SubscribedQueue: SNS does not retry a message that a queue refuses.
                depends_on=[queue.policy, dead_letters.policy],
            )
            # Its value never is in a plan or a state: `make webhook-secret` makes it.
            secret = SecretsmanagerSecret(
                self,
                f"{name}_secret",
                # Secrets Manager keeps the name of a deleted secret for 30 days ("DeleteSecret"). The ending is new
                # each time, so that an address can be added again after it was removed.
                name_prefix=f"{webhook_secret_name(foundation.prefix, url)}-",
                description=f"Signs webhooks to {url}; the two newest versions count",
                kms_key_id=secrets_key.arn,
                recovery_window_in_days=30 if foundation.protect_data else 0,
            )
            self.dead_letters.append(dead_letters)
            self._receivers[name] = _Receiver(url, queue, secret)
        self.queues = [receiver.queue for receiver in self._receivers.values()]
        self.environment: Mapping[str, str] = {
            "RECEIVERS": ",".join(
                str(WebhookReceiver(receiver.queue.url, receiver.secret.arn, receiver.url))
                for receiver in self._receivers.values()
            ),
            "WEBHOOK_ATTEMPTS": str(WEBHOOK_ATTEMPTS),
            "WEBHOOK_BACKOFF_SECONDS": str(backoff_seconds),
        }

    def deliver(self, function: Function) -> None:
        """Let a function sign, and send what is in the queues."""
        self._log_groups.append(function.log_group)
        function.role.grant(
            "secrets_read",
            Statement(
                sid="ReadSecrets",
                actions=["secretsmanager:GetSecretValue"],
                resources=[receiver.secret.arn for receiver in self._receivers.values()],
            ),
            self.secrets_key.statement("DecryptSecrets", "kms:Decrypt"),
        )
        for name, receiver in self._receivers.items():
            function.consume(receiver.queue, name, batch_size=BATCH_SIZE, max_concurrency=MAX_CONCURRENCY)

    def alarms(self) -> list[Alarm]:
        """Return the alarms on receivers that do not take webhooks, and on webhooks that are late."""
        return [alarm for queue in self.queues for alarm in (_undelivered(queue), _late(queue))]

    def dashboard_rows(self) -> list[Row]:
        """Return the rows of the queues, and that of the webhooks."""
        sent_and_taken = [metric for queue in self.queues for metric in (_received(queue), _deleted(queue))]
        return [
            *(row for queue in self.queues for row in queue.dashboard_rows()),
            Row("Webhooks", [Graph("sent and taken", sent_and_taken, "webhooks")]),
        ]

    def log_queries(self) -> list[LogQuery]:
        """Return the query of webhooks that were not taken."""
        lines = ["fields @timestamp, receiver, reason, receives", f'filter message = "{NOT_DELIVERED}"']
        lines += ["sort @timestamp desc", "limit 50"]
        return [LogQuery("undelivered-webhooks", lines, self._log_groups)]


def keep_secrets(foundation: Foundation) -> Statement:
    """Return what Terraform needs for the secrets of receivers, which come and go with the setting."""
    name = f"secret:{foundation.prefix}-*"
    return Statement(sid="KeepSecrets", actions=_KEEP, resources=[foundation.arn("secretsmanager", name)])


def _undelivered(queue: Queue) -> Alarm:
    """Return the alarm on a receiver; a message that is received and not deleted was not taken."""
    return Alarm(
        name=f"{label_of(queue)}_undelivered",
        metrics={"received": _received(queue), "deleted": _deleted(queue)},
        expression="IF(FILL(received, 0) > 0, 100 * (FILL(received, 0) - FILL(deleted, 0)) / FILL(received, 0), 0)",
        label="not taken in percent",
        threshold=UNDELIVERED_PERCENT,
        periods=2,
        advice=Advice(
            f"More than {UNDELIVERED_PERCENT} % of the webhooks of the queue {queue.name} were not taken, in two "
            "periods of 5 minutes.",
            "read in the log of the function webhooks what the receiver answers, and tell who runs it",
            "undelivered-webhooks",
        ),
    )


def _late(queue: Queue) -> Alarm:
    return Alarm(
        name=f"{label_of(queue)}_late",
        metrics={"age": queue.metric("ApproximateAgeOfOldestMessage")},
        threshold=LATE_SECONDS,
        periods=1,
        # It is reported only while a message waits.
        missing="notBreaching",
        advice=Advice(
            f"Webhooks of the queue {queue.name} wait for more than {LATE_SECONDS // 60} minutes to be sent.",
            "see whether the function webhooks runs, is throttled, or has no secret to sign with",
            "late-webhooks",
        ),
    )


def _received(queue: Queue) -> Metric:
    return queue.metric("NumberOfMessagesReceived", "Sum", f"{title_of(queue)} sent")


def _deleted(queue: Queue) -> Metric:
    return queue.metric("NumberOfMessagesDeleted", "Sum", f"{title_of(queue)} taken")
