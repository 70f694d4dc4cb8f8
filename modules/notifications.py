"""Topics: events of files for subscribers, and alerts for operators."""

from __future__ import annotations

from collections.abc import Sequence

from cdktf_cdktf_provider_aws.sns_topic import SnsTopic
from cdktf_cdktf_provider_aws.sns_topic_policy import SnsTopicPolicy
from cdktf_cdktf_provider_aws.sns_topic_subscription import SnsTopicSubscription
from constructs import Construct

from modules.deployer import any_resource
from modules.encryption import CustomerKey
from modules.foundation import Foundation
from modules.names import dead_letters_of, slug
from modules.policy_documents import Statement, deny_plain_http, document
from modules.queues import Queue, Sender, redrive_policy
from modules.roles import Grantee

_KEEP = (
    "sns:CreateTopic",
    "sns:DeleteTopic",
    "sns:GetTopicAttributes",
    "sns:ListSubscriptionsByTopic",
    "sns:ListTagsForResource",
    "sns:SetTopicAttributes",
    "sns:Subscribe",
    "sns:TagResource",
    "sns:UntagResource",
)

# A subscription is no type of resource to IAM.
_KEEP_SUBSCRIPTIONS = ("sns:GetSubscriptionAttributes", "sns:SetSubscriptionAttributes", "sns:Unsubscribe")


class Topic(Construct):
    """One topic under the customer key of the topics.

    Attributes:
        name: its name.
        arn: its ARN.
        policy: its policy, for `depends_on` of resources that publish.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        foundation: Foundation,
        name: str,
        key: CustomerKey,
        publishers: Sequence[Sender] = (),
    ) -> None:
        """
        Args:
            name: name of the topic without the environment's prefix.
            key: encrypts the messages.
            publishers: services that publish to the topic; roles get the permission from `grant_publish`.
        """
        super().__init__(scope, construct_id)
        self._foundation = foundation
        self._key = key
        topic = SnsTopic(self, "Default", name=f"{foundation.prefix}-{name}", kms_master_key_id=key.arn)
        self.name = topic.name
        self.arn = topic.arn
        self.policy = SnsTopicPolicy(
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
                            "StringEquals": {"aws:SourceAccount": foundation.account_id},
                        },
                    )
                    for publisher in publishers
                ),
            ),
        )

    def deployer_statements(self) -> list[Statement]:
        """Return what Terraform needs for topics and subscriptions."""
        topics = self._foundation.arn("sns", f"{self._foundation.prefix}-*")
        return [
            Statement(sid="KeepTopics", actions=_KEEP, resources=[topics, f"{topics}:*"]),
            any_resource("KeepSubscriptions", "SNS has no resource type for subscriptions", *_KEEP_SUBSCRIPTIONS),
        ]

    def grant_publish(self, grantee: Grantee, concern: str) -> None:
        """Let a role publish to the topic (SNS, "Key management": a data key, and Decrypt to check it)."""
        grantee.grant(
            concern,
            Statement(sid="Publish", actions=["sns:Publish"], resources=[self.arn]),
            self._key.statement("EncryptMessages", "kms:GenerateDataKey", "kms:Decrypt"),
        )


class SubscribedQueue(Construct):
    """A queue that is subscribed to a topic.

    Attributes:
        queue: the queue.
        dead_letters: gets the messages that the queue could not receive or its readers could not handle.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        foundation: Foundation,
        topic_arn: str,
        key: CustomerKey,
        foreign_topic: str | None = None,
        visibility_timeout_seconds: int | None = None,
    ) -> None:
        """
        Args:
            construct_id: name of the queue, too.
            topic_arn: of a topic of this stack or of another one.
            key: encrypts the queues; its policy has to admit SNS for that topic.
            foreign_topic: name of the topic if it is another project's.
            visibility_timeout_seconds: how long a message is hidden from other readers; by default SQS's 30.
        """
        super().__init__(scope, construct_id)
        self._foundation, self._foreign_topic = foundation, foreign_topic
        name, senders = slug(construct_id), [Sender("sns.amazonaws.com", topic_arn)]
        self.dead_letters = Queue(
            self, "dead_letters", foundation=foundation, name=dead_letters_of(name), key=key, senders=senders
        )
        self.queue = Queue(
            self,
            "Default",
            foundation=foundation,
            name=name,
            key=key,
            senders=senders,
            dead_letters=self.dead_letters,
            visibility_timeout_seconds=visibility_timeout_seconds,
        )
        SnsTopicSubscription(
            self,
            "subscription",
            topic_arn=topic_arn,
            protocol="sqs",
            endpoint=self.queue.arn,
            raw_message_delivery=False,
            redrive_policy=redrive_policy(self.dead_letters),
            # SNS does not retry a message that a queue refuses. If the dead-letter queue refuses it too, it is lost.
            depends_on=[self.queue.policy, self.dead_letters.policy],
        )

    def deployer_statements(self) -> list[Statement]:
        """Return what a subscription to another project's topic needs; `Topic` declares it for this project's."""
        if self._foreign_topic is None:
            return []
        topic = self._foundation.arn("sns", self._foreign_topic)
        return [Statement(sid="SubscribeToOthers", actions=["sns:Subscribe"], resources=[topic])]


def alarms_of(foundation: Foundation) -> Sender:
    """Return the sender that stands for the alarms of an environment, for the topic of its alerts."""
    return Sender("cloudwatch.amazonaws.com", foundation.arn("cloudwatch", f"alarm:{foundation.prefix}-*"))


def tell_by_email(scope: Construct, alerts: Topic, address: str | None) -> None:
    """Subscribe an address, if there is one, to a topic of alarms."""
    if address:
        SnsTopicSubscription(scope, "alert_email", topic_arn=alerts.arn, protocol="email", endpoint=address)


class Notifications(Construct):
    """The two topics, and a queue that holds the events of files until a reader takes them.

    Attributes:
        files: topic of the events of files.
        alerts: topic of alarms and of failures that need an operator.
        inbox: queue that is subscribed to the events of files.
        queues: every queue in here, for alarms.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        foundation: Foundation,
        key: CustomerKey,
        queues_key: CustomerKey,
        alert_email: str | None = None,
    ) -> None:
        """
        Args:
            key: the key that encrypts the topics.
            queues_key: the key that encrypts the queues.
            alert_email: address that gets alarms.
        """
        super().__init__(scope, construct_id)
        self.files = Topic(self, "files", foundation=foundation, name="files", key=key)
        self.alerts = Topic(
            self,
            "alerts",
            foundation=foundation,
            name="alerts",
            key=key,
            publishers=[alarms_of(foundation)],
        )
        tell_by_email(self, self.alerts, alert_email)
        subscribed = SubscribedQueue(self, "inbox", foundation=foundation, topic_arn=self.files.arn, key=queues_key)
        self.inbox = subscribed.queue
        self.queues = [subscribed.dead_letters]
