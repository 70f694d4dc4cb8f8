"""Queues: encrypted, with 14 days of retention, open only to named senders and readers. Most hold dead letters."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from cdktf_cdktf_provider_aws.sqs_queue import SqsQueue
from cdktf_cdktf_provider_aws.sqs_queue_policy import SqsQueuePolicy
from constructs import Construct

from modules.alarms import Advice, Alarm, Metric
from modules.encryption import CustomerKey
from modules.foundation import Foundation
from modules.monitored import Graph, Monitored, Row, label_of, title_of
from modules.policy_documents import Statement, deny_plain_http, document
from modules.roles import Grantee

RETENTION_SECONDS = 14 * 24 * 3600  # the most that SQS keeps a message
KEY_REUSE_SECONDS = 300
# After so many tries a message of a queue with readers is a dead letter.
MAX_RECEIVES = 5
# A day before SQS deletes the message.
OLDEST_MESSAGE_SECONDS = RETENTION_SECONDS - 24 * 3600

_KEEP = (
    "sqs:CreateQueue",
    "sqs:DeleteQueue",
    "sqs:GetQueueAttributes",
    "sqs:GetQueueUrl",
    "sqs:ListQueueTags",
    "sqs:SetQueueAttributes",
    "sqs:TagQueue",
    "sqs:UntagQueue",
)


@dataclass(frozen=True)
class Sender:
    """An AWS service that sends to a queue on behalf of one resource.

    Attributes:
        service: principal of the service, such as `events.amazonaws.com`.
        source_arn: the resource for which it acts.
    """

    service: str
    source_arn: str


class Queue(Construct, Monitored):
    """One queue under the customer key of the queues.

    Attributes:
        name: its name.
        arn: its ARN.
        url: its URL.
        policy: its policy, for `depends_on` of resources that send.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        foundation: Foundation,
        name: str,
        key: CustomerKey,
        senders: Sequence[Sender] = (),
        dead_letters: Queue | None = None,
        max_receives: int = MAX_RECEIVES,
        visibility_timeout_seconds: int | None = None,
    ) -> None:
        """
        Args:
            name: name of the queue without the environment's prefix.
            key: encrypts the messages.
            senders: services that send to the queue; roles get the permission from `grant_send`.
            dead_letters: gets the messages that no reader could handle.
            max_receives: how often a message is received before that.
            visibility_timeout_seconds: how long a message is hidden from other readers; by default SQS's 30.
        """
        super().__init__(scope, construct_id)
        self._foundation = foundation
        self._key = key
        self._has_readers = dead_letters is not None
        queue = SqsQueue(
            self,
            "Default",
            name=f"{foundation.prefix}-{name}",
            message_retention_seconds=RETENTION_SECONDS,
            kms_master_key_id=key.arn,
            kms_data_key_reuse_period_seconds=KEY_REUSE_SECONDS,
            visibility_timeout_seconds=visibility_timeout_seconds,
            redrive_policy=redrive_policy(dead_letters, max_receives) if dead_letters else None,
        )
        self.name: str = queue.name
        self.arn: str = queue.arn
        self.url: str = queue.url
        self.policy = SqsQueuePolicy(
            self,
            "policy",
            queue_url=queue.url,
            policy=document(
                deny_plain_http("sqs:*", queue.arn),
                *(
                    Statement(
                        sid=f"Admit{sender.service.partition('.')[0].capitalize()}{number or ''}",
                        actions=["sqs:SendMessage"],
                        resources=[queue.arn],
                        principals={"Service": [sender.service]},
                        conditions={"ArnEquals": {"aws:SourceArn": sender.source_arn}},
                    )
                    for number, sender in enumerate(senders)
                ),
            ),
        )

    def alarms(self) -> list[Alarm]:
        """Return the alarm on dead letters, or that on messages which expire before a reader takes them."""
        return [self._expiring() if self._has_readers else self._waiting()]

    def _waiting(self) -> Alarm:
        return Alarm(
            name=f"{label_of(self)}_waiting",
            metrics={"messages": self.metric("ApproximateNumberOfMessagesVisible")},
            threshold=0,
            periods=1,
            # A queue without traffic stops to report after six hours; the message is still in it.
            missing="ignore",
            advice=Advice(
                f"Messages that could not be processed lie in the dead-letter queue {self.name}, for 14 days at most.",
                "read one message, mend what it failed on, then run `make redrive`",
                "dead-letters",
            ),
        )

    def _expiring(self) -> Alarm:
        return Alarm(
            name=f"{label_of(self)}_expiring",
            metrics={"age": self.metric("ApproximateAgeOfOldestMessage")},
            threshold=OLDEST_MESSAGE_SECONDS,
            periods=1,
            # It is reported only while a message waits.
            missing="notBreaching",
            advice=Advice(
                f"SQS will delete messages of the queue {self.name} within a day, and nobody has read them.",
                "start the queue's reader, or end the queue's subscription if nobody wants to read it",
                "expiring-messages",
            ),
        )

    def dashboard_rows(self) -> list[Row]:
        """Return the row of the queues."""
        messages = self.metric("ApproximateNumberOfMessagesVisible")
        age = self.metric("ApproximateAgeOfOldestMessage")
        return [
            Row(
                "Queues",
                [Graph("messages", [messages], "messages"), Graph("age of the oldest message", [age], "s")],
            )
        ]

    def metric(self, name: str, statistic: str = "Maximum", label: str = "") -> Metric:
        """Return a metric of the queue (SQS, "Available CloudWatch metrics for Amazon SQS")."""
        return Metric("AWS/SQS", name, {"QueueName": self.name}, statistic, label or title_of(self))

    def deployer_statements(self) -> list[Statement]:
        """Return what Terraform needs for queues."""
        return [
            Statement(
                sid="KeepQueues",
                actions=_KEEP,
                resources=[self._foundation.arn("sqs", f"{self._foundation.prefix}-*")],
            )
        ]

    def send_statements(self) -> list[Statement]:
        """Return the permissions to send messages (SQS, "Key management": a data key, and Decrypt to check it)."""
        return [
            Statement(sid="SendMessages", actions=["sqs:SendMessage"], resources=[self.arn]),
            self._key.statement("EncryptMessages", "kms:GenerateDataKey", "kms:Decrypt"),
        ]

    def grant_send(self, grantee: Grantee, concern: str) -> None:
        """Let a role send messages to the queue."""
        grantee.grant(concern, *self.send_statements())

    def grant_consume(self, grantee: Grantee, concern: str) -> None:
        """Let a role read the queue (Lambda, "Using Lambda with Amazon SQS") and hide messages until they are due."""
        grantee.grant(
            concern,
            Statement(
                sid="ReceiveMessages",
                actions=["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"],
                resources=[self.arn],
            ),
            Statement(sid="PostponeMessages", actions=["sqs:ChangeMessageVisibility"], resources=[self.arn]),
            self._key.statement("DecryptMessages", "kms:Decrypt"),
        )


def redrive_policy(dead_letters: Queue, max_receives: int | None = None) -> str:
    """Return a redrive policy as JSON without blanks: SQS returns it in this form, and plans compare the text."""
    policy: dict[str, object] = {"deadLetterTargetArn": dead_letters.arn}
    if max_receives is not None:
        policy["maxReceiveCount"] = max_receives
    return json.dumps(policy, separators=(",", ":"))
