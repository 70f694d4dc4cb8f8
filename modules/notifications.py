"""Topics: what happens to files, for those who subscribe; and alerts, for those who operate."""

from __future__ import annotations

from collections.abc import Sequence

from cdktf_cdktf_provider_aws.sns_topic import SnsTopic
from cdktf_cdktf_provider_aws.sns_topic_policy import SnsTopicPolicy
from cdktf_cdktf_provider_aws.sns_topic_subscription import SnsTopicSubscription
from constructs import Construct

from modules.encryption import CustomerKey
from modules.permissions import Role
from modules.policy import Statement, deny_plain_http, document
from modules.queues import Queue, Sender, redrive_policy
from modules.settings import Settings


class Topic(Construct):
    """One topic under the customer key of the topics.

    Attributes:
        name: its name.
        arn: its ARN.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        settings: Settings,
        name: str,
        key: CustomerKey,
        publishers: Sequence[Sender] = (),
    ) -> None:
        """
        Args:
            name: what comes behind the environment's prefix.
            key: what encrypts the messages.
            publishers: services that publish here; roles are let in by `grant_publish`.
        """
        super().__init__(scope, construct_id)
        self._key = key
        topic = SnsTopic(self, "Default", name=f"{settings.prefix}-{name}", kms_master_key_id=key.arn)
        self.name = topic.name
        self.arn = topic.arn
        SnsTopicPolicy(
            self,
            "policy",
            arn=topic.arn,
            policy=document(
                # SNS refuses a wildcard of all its actions in a topic's policy ("Access policy language").
                deny_plain_http("sns:Publish", topic.arn),
                *(
                    Statement(
                        sid=f"Admit{publisher.service.partition('.')[0].capitalize()}",
                        actions=["sns:Publish"],
                        resources=[topic.arn],
                        principals={"Service": [publisher.service]},
                        conditions={
                            "ArnLike": {"aws:SourceArn": publisher.source_arn},
                            "StringEquals": {"aws:SourceAccount": settings.account_id},
                        },
                    )
                    for publisher in publishers
                ),
            ),
        )

    def grant_publish(self, role: Role, concern: str) -> None:
        """Let a role publish here (SNS, "Key management": a data key, and Decrypt to check it)."""
        role.grant(
            concern,
            Statement(sid="Publish", actions=["sns:Publish"], resources=[self.arn]),
            self._key.statement("EncryptMessages", "kms:GenerateDataKey", "kms:Decrypt"),
        )


class Notifications(Construct):
    """The two topics, and a queue that holds what was said about files until somebody reads it.

    Attributes:
        files: topic of the events of files.
        alerts: topic of alarms and of failures that a person has to look at.
        inbox: queue that is subscribed to the events of files.
        queues: every queue in here, for alarms.
    """

    def __init__(
        self, scope: Construct, construct_id: str, *, settings: Settings, key: CustomerKey, queues_key: CustomerKey
    ) -> None:
        super().__init__(scope, construct_id)
        self.files = Topic(self, "files", settings=settings, name="files", key=key)
        alarms = f"arn:aws:cloudwatch:{settings.primary_region}:{settings.account_id}:alarm:{settings.prefix}-*"
        self.alerts = Topic(
            self,
            "alerts",
            settings=settings,
            name="alerts",
            key=key,
            publishers=[Sender("cloudwatch.amazonaws.com", alarms)],
        )
        if settings.alert_email:
            SnsTopicSubscription(
                self, "alert_email", topic_arn=self.alerts.arn, protocol="email", endpoint=settings.alert_email
            )
        from_files = [Sender("sns.amazonaws.com", self.files.arn)]
        dead_letters = Queue(
            self,
            "inbox_dead_letters",
            settings=settings,
            name="inbox-dead-letters",
            key=queues_key,
            senders=from_files,
        )
        self.inbox = Queue(
            self,
            "inbox",
            settings=settings,
            name="inbox",
            key=queues_key,
            senders=from_files,
            dead_letters=dead_letters,
        )
        self.queues = [dead_letters]
        SnsTopicSubscription(
            self,
            "inbox_subscription",
            topic_arn=self.files.arn,
            protocol="sqs",
            endpoint=self.inbox.arn,
            raw_message_delivery=False,
            redrive_policy=redrive_policy(dead_letters),
        )
